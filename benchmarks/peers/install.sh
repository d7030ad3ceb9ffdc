#!/bin/sh
# Makes a virtual environment with the peers that benchmarks and reference numbers are computed with, at pinned
# versions. The folder is the first argument, else $LUTHIER_PEERS, else .venv beside this script.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-${LUTHIER_PEERS:-$here/.venv}}
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
echo "$venv/bin/python"
