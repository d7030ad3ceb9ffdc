#!/usr/bin/env bash
# Makes `import luthier` work from this folder without a wheel and without network: builds the native part and links it beside
# the package. Then: PYTHONPATH=python python3 -c 'import luthier'. CARGO names another cargo; arguments are passed on to it.
set -euo pipefail
cd "$(dirname "$0")/.."
"${CARGO:-cargo}" build --release --locked --package luthier-python "$@"
built="${CARGO_TARGET_DIR:-$PWD/target}/release"
case "$(uname -s)" in
  Darwin) ln -sf "$built/libluthier_python.dylib" python/luthier/_core.abi3.so ;;
  MINGW* | MSYS* | CYGWIN*) cp "$built/luthier_python.dll" python/luthier/_core.pyd ;;
  *) ln -sf "$built/libluthier_python.so" python/luthier/_core.abi3.so ;;
esac
