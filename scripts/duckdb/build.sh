#!/usr/bin/env bash
# DuckDB in a Python environment of its own, for the bench that compares with it, in the cache folder. Needs Python 3.11
# with venv.
#
#   scripts/duckdb/build.sh            install it if missing, print the path of the environment's Python
#   scripts/duckdb/build.sh --check    exit 0 if it is there, print nothing
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/python-environment.sh
. "$here/../python-environment.sh"
python_environment "$here" duckdb "DuckDB for the bench (200 MB)" "${1:-}"
