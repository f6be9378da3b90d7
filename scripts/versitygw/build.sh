#!/usr/bin/env bash
# Builds versitygw, the S3 server of the tests, into the cache folder. Needs Go 1.25.
#
#   scripts/versitygw/build.sh            build it if missing, print its path
#   scripts/versitygw/build.sh --check    exit 0 if it is there, print nothing
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tracerag
version=1.8.0
binary=$cache/versitygw/$version/versitygw

if [ -x "$binary" ]; then
  if [ "${1:-}" != --check ]; then printf '%s\n' "$binary"; fi
  exit 0
fi
if [ "${1:-}" = --check ]; then exit 1; fi

mkdir -p "${binary%/*}"
work=$(mktemp -d "$cache/versitygw/.build.XXXXXX")
# Go writes its module cache read-only.
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
# Go's caches stay out of the user's own, and go away with the build.
export GOMODCACHE=$work/modules GOCACHE=$work/objects GOFLAGS=-buildvcs=false GOWORK=off CGO_ENABLED=0
# No detour to version control where the proxy lacks a module.
GOPROXY=$(go env GOPROXY)
export GOPROXY=${GOPROXY%,direct}

printf '%s\n' "tracerag: building the S3 server versitygw $version for the tests (2 min) into ${binary%/*}" >&2
if ! GOBIN=$work/bin go install "github.com/versity/versitygw/cmd/versitygw@v$version" >"$work/log" 2>&1; then
  tail -n 5 "$work/log" >&2
  printf '%s\n' "tracerag: building versitygw failed (see above)" \
    "tracerag: remedy: connect to the network, or set GOPROXY and HTTPS_PROXY; ./check --quick does without it" >&2
  exit 1
fi
mv "$work/bin/versitygw" "$binary"
printf '%s\n' "$binary"
