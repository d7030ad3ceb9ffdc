#!/bin/sh
# Makes the environments of the peers, at pinned versions: `install.sh [NAME...]`, by default all of them. They need Python 3.11 ($PYTHON),
# and lie in $LUTHIER_PEERS, by default target/peers. A peer that fails to install is named at the end, and the others are made all the same.
#
# PyTorch is large, so those that need it share one copy, $LUTHIER_PEERS/torch. If LUTHIER_TORCH names the site-packages of an environment of
# Python 3.11 that has PyTorch 2.15, that copy is taken.
set -u
here=$(cd "$(dirname "$0")" && pwd)
peers=${LUTHIER_PEERS:-$here/../../target/peers}
python=${PYTHON:-python3.11}
all="reference optuna hyperopt nevergrad smac skopt hebo ax syne-tune dehb neps rust"
with_torch=" optuna hebo ax syne-tune neps "

mkdir -p "$peers" || exit 1
peers=$(cd "$peers" && pwd)

shared_torch() {
    [ -e "$peers/torch/torch" ] && return 0
    if [ -n "${LUTHIER_TORCH:-}" ]; then
        mkdir -p "$peers/torch"
        for part in torch torchgen functorch nvidia triton cuda sympy mpmath networkx filelock fsspec jinja2 markupsafe typing_extensions.py; do
            [ -e "$LUTHIER_TORCH/$part" ] && ln -sfn "$LUTHIER_TORCH/$part" "$peers/torch/$part"
        done
        ln -sfn "$LUTHIER_TORCH"/torch-*.dist-info "$peers/torch/"
        return 0
    fi
    "$python" -m pip install --quiet --target "$peers/torch" torch==2.15.0
}

environment() {
    name=$1
    [ -x "$peers/$name/bin/python" ] || "$python" -m venv "$peers/$name" || return 1
    case $with_torch in *" $name "*)
        shared_torch || return 1
        echo "$peers/torch" > "$peers/$name/lib/python3.11/site-packages/shared_torch.pth" ;;
    esac
    set -- --quiet --disable-pip-version-check --no-deps
    if [ "$name" = hebo ]; then
        # HEBO's own pins send pip back and forth for a quarter of an hour; and its pymoo has no wheel, and is slow unless compiled.
        "$peers/$name/bin/python" -m pip install "$@" setuptools==65.5.0 wheel==0.48.0 packaging==26.3 Cython==0.29.37 numpy==1.24.4 || return 1
        set -- "$@" --no-build-isolation --no-cache-dir --no-binary pymoo
    fi
    "$peers/$name/bin/python" -m pip install "$@" -r "$here/requirements/$name.txt"
}

# Optuna's AutoSampler is on OptunaHub, not in the package. Without it the other samplers work all the same.
registry() {
    [ -d "$peers/optunahub-registry/package" ] && return 0
    git init --quiet "$peers/optunahub-registry" &&
        git -C "$peers/optunahub-registry" fetch --quiet --depth 1 https://github.com/optuna/optunahub-registry \
            ee680199100edbd95e0000eb20696c3ec5505973 &&
        git -C "$peers/optunahub-registry" checkout --quiet FETCH_HEAD ||
        echo "OptunaHub's registry was not fetched: AutoSampler will be loaded from the hub, or not at all" >&2
}

rust() {
    cargo build --release --locked --manifest-path "$here/rust/Cargo.toml" --target-dir "$peers/rust"
}

failed=
for peer in ${*:-$all}; do
    echo "$peer" >&2
    if [ "$peer" = rust ]; then rust; else environment "$peer"; fi || failed="$failed $peer"
    [ "$peer" != optuna ] || registry
done
[ -z "$failed" ] || { echo "not installed:$failed" >&2; exit 1; }
echo "$peers"
