#!/usr/bin/env bash
# faiss and hnswlib in a Python environment of their own, for the bench `quality`, in the cache folder. Needs Python 3.11
# with venv, and g++: hnswlib is compiled.
#
#   scripts/peers/build.sh            install them if missing, print the path of the environment's Python
#   scripts/peers/build.sh --check    exit 0 if they are there, print nothing
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/python-environment.sh
. "$here/../python-environment.sh"
python_environment "$here" peers "faiss and hnswlib for the bench (200 MB)" "${1:-}"
