#!/usr/bin/env bash
# Builds the OpenTelemetry Collector (builder.yaml) and telemetrygen for the tests into the cache folder. Needs Go 1.25.
#
#   scripts/collector/build.sh            build what is missing, print the folder
#   scripts/collector/build.sh --check    exit 0 if both are there, print nothing
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tracerag
version=0.155.0
telemetrygen=0.161.0
out=$cache/collector/$version-$(sha256sum "$here/builder.yaml" | cut -c1-8)

if [ -x "$out/otelcol" ] && [ -x "$out/telemetrygen" ]; then
  if [ "${1:-}" != --check ]; then printf '%s\n' "$out"; fi
  exit 0
fi
if [ "${1:-}" = --check ]; then exit 1; fi

mkdir -p "$out"
work=$(mktemp -d "$cache/collector/.build.XXXXXX")
# Go writes its module cache read-only.
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
# Go's caches stay out of the user's own, and go away with the build.
export GOMODCACHE=$work/modules GOCACHE=$work/objects GOFLAGS=-buildvcs=false GOWORK=off CGO_ENABLED=0
# No detour to version control where the proxy lacks a module.
GOPROXY=$(go env GOPROXY)
export GOPROXY=${GOPROXY%,direct}

step() {
  "$@" >>"$work/log" 2>&1 && return
  tail -n 5 "$work/log" >&2
  printf '%s\n' "tracerag: building the Collector failed (see above)" \
    "tracerag: remedy: connect to the network, or set GOPROXY and HTTPS_PROXY; ./check --quick does without it" >&2
  exit 1
}

if [ ! -x "$out/otelcol" ]; then
  printf '%s\n' "tracerag: building the OpenTelemetry Collector $version for the tests (2 to 5 min) into $out" >&2
  GOBIN=$work/bin step go install "go.opentelemetry.io/collector/cmd/builder@v$version"
  mkdir "$work/src"
  cp "$here/builder.yaml" "$work/src"
  cd "$work/src"
  # The builder's own `go mod tidy` stops at a module that only a test of a dependency needs: it only generates
  # here, and its exit status says nothing; `tidy -e` and `go build` do the rest.
  "$work/bin/builder" --config builder.yaml --skip-compilation >>"$work/log" 2>&1 || true
  step test -s go.mod
  step go mod tidy -e
  step go build -trimpath -ldflags="-s -w" -o otelcol .
  mv otelcol "$out/otelcol"
fi
if [ ! -x "$out/telemetrygen" ]; then
  printf '%s\n' "tracerag: building telemetrygen $telemetrygen for the tests" >&2
  GOBIN=$work/bin step go install "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v$telemetrygen"
  mv "$work/bin/telemetrygen" "$out/telemetrygen"
fi
printf '%s\n' "$out"
