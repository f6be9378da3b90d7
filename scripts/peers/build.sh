#!/usr/bin/env bash
# faiss and hnswlib in a Python environment of their own, for the bench `quality`, in the cache folder. Needs Python 3.11
# with venv, and g++: hnswlib is compiled.
#
#   scripts/peers/build.sh            install them if missing, print the path of the environment's Python
#   scripts/peers/build.sh --check    exit 0 if they are there, print nothing
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tracerag
pins=$(sha256sum <"$here/requirements.txt" | cut -c1-12)
out=$cache/peers/$pins

# The Python that the environment was made from may have gone since.
if [ -e "$out/.done" ] && "$out/bin/python" -c '' 2>/dev/null; then
  if [ "${1:-}" != --check ]; then printf '%s\n' "$out/bin/python"; fi
  exit 0
fi
if [ "${1:-}" = --check ]; then exit 1; fi

printf '%s\n' "tracerag: installing faiss and hnswlib for the bench (200 MB) into $out" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
rm -f "$out/.done"
if ! { python3 -m venv --clear "$out" &&
  "$out/bin/python" -m pip --quiet --disable-pip-version-check install --requirement "$here/requirements.txt"; } >"$log" 2>&1; then
  tail -n 5 "$log" >&2
  printf '%s\n' "tracerag: installing faiss and hnswlib failed (see above)" \
    "tracerag: remedy: connect to the network, or set HTTPS_PROXY, and start again" >&2
  exit 1
fi
touch "$out/.done"
printf '%s\n' "$out/bin/python"
