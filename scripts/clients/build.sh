#!/usr/bin/env bash
# The clients of others with which the tests drive a running server, into the cache folder: Python packages in an
# environment of their own (python/bin/python), JDBC drivers (jars), and JavaScript (node_modules: the TypeScript client of
# MCP, and axe-core). The browser is the system's own.
# Needs Python 3.11 with venv, Node.js with npm, and Maven. The versions are pinned by the files beside this one.
#
#   scripts/clients/build.sh            install them if missing, print the folder
#   scripts/clients/build.sh --check    exit 0 if they are there, print nothing
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tracerag
pins=$(cat "$here/requirements.txt" "$here/package-lock.json" "$here/pom.xml" | sha256sum | cut -c1-12)
out=$cache/clients/$pins

# The Python that the environment was made from may have gone since.
if [ -e "$out/.done" ] && "$out/python/bin/python" -c '' 2>/dev/null; then
  if [ "${1:-}" != --check ]; then printf '%s\n' "$out"; fi
  exit 0
fi
if [ "${1:-}" = --check ]; then exit 1; fi

mkdir -p "$out"
work=$(mktemp -d "$cache/clients/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT
printf '%s\n' "tracerag: installing database drivers and agents' clients for the tests (1.2 GB) into $out" >&2

step() {
  "$@" >"$work/log" 2>&1 && return
  tail -n 5 "$work/log" >&2
  printf '%s\n' "tracerag: installing the clients failed at ${1##*/} (see above)" \
    "tracerag: remedy: connect to the network, or set HTTPS_PROXY and Maven's proxy in ~/.m2/settings.xml; ./check --quick does without them" >&2
  exit 1
}

# An environment of Python cannot be moved: it is made in its place, and counts only when all is done.
rm -rf "$out/.done" "$out/jars" "$out/node_modules"
step python3 -m venv --clear "$out/python"
step "$out/python/bin/python" -m pip --quiet --disable-pip-version-check install --requirement "$here/requirements.txt"
step mvn -q -B -f "$here/pom.xml" -Dmaven.repo.local="$work/repository" dependency:copy-dependencies \
  -DincludeScope=runtime -DexcludeTransitive=true -DoutputDirectory="$out/jars"
cp "$here/package.json" "$here/package-lock.json" "$out"
# What packages would run while they are installed is not needed.
step npm ci --prefix "$out" --cache "$work/npm" --ignore-scripts --no-audit --no-fund --loglevel=error
touch "$out/.done"
printf '%s\n' "$out"
