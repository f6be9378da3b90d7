#!/usr/bin/env bash
# Helm and promtool for the tests of what is deployed (tests/kit), into the cache folder. Helm is built, which needs Go
# 1.26; promtool is taken out of Debian's package of Prometheus, which is not installed: it would start a service.
#
#   scripts/kit/fetch.sh            bring what is missing, print the folder
#   scripts/kit/fetch.sh --check    exit 0 if both are there, print nothing
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tracerag
helm=3.22.0
out=$cache/kit/helm-$helm

if [ -x "$out/helm" ] && [ -x "$out/promtool" ]; then
  if [ "${1:-}" != --check ]; then printf '%s\n' "$out"; fi
  exit 0
fi
if [ "${1:-}" = --check ]; then exit 1; fi

mkdir -p "$out"
work=$(mktemp -d "$cache/kit/.fetch.XXXXXX")
# Go writes its module cache read-only.
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

step() {
  "$@" >"$work/log" 2>&1 && return
  tail -n 5 "$work/log" >&2
  printf '%s\n' "tracerag: $what failed (see above)" "tracerag: remedy: $remedy; ./check --quick does without it" >&2
  exit 1
}

if [ ! -x "$out/promtool" ]; then
  what="bringing promtool"
  remedy="apt-get update, or put a promtool into $out"
  if command -v promtool >/dev/null 2>&1; then
    ln -s "$(command -v promtool)" "$out/promtool"
  else
    printf '%s\n' "tracerag: downloading Debian's package of Prometheus for promtool (19 MB) into $out" >&2
    cd "$work"
    apt-get download -qq prometheus >/dev/null 2>&1 || step apt-get update -qq
    step apt-get download -qq prometheus
    step dpkg-deb -x prometheus_*.deb package
    mv package/usr/bin/promtool "$out/promtool"
  fi
fi
if [ ! -x "$out/helm" ]; then
  what="building Helm"
  remedy="connect to the network, or set GOPROXY and HTTPS_PROXY, or put a helm into $out"
  printf '%s\n' "tracerag: building Helm $helm for the tests (2 to 5 min) into $out" >&2
  # Go's caches stay out of the user's own, and go away with the build. No detour to version control or to another Go.
  export GOMODCACHE=$work/modules GOCACHE=$work/objects GOFLAGS=-buildvcs=false GOWORK=off CGO_ENABLED=0 GOTOOLCHAIN=local
  GOPROXY=$(go env GOPROXY)
  export GOPROXY=${GOPROXY%,direct}
  GOBIN=$work/bin step go install -trimpath -ldflags="-s -w" "helm.sh/helm/v3/cmd/helm@v$helm"
  mv "$work/bin/helm" "$out/helm"
fi
printf '%s\n' "$out"
