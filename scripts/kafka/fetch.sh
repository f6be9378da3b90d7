#!/usr/bin/env bash
# The jars of Apache Kafka 4.4.0 for the tests with a real broker, into the cache folder, by Maven.
#
#   scripts/kafka/fetch.sh            fetch if missing, print the folder
#   scripts/kafka/fetch.sh --check    exit 0 if they are there, print nothing
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tracerag
libs=$cache/kafka/libs-4.4.0

# The folder gets its name only when it is complete.
if [ -d "$libs" ]; then
  if [ "${1:-}" != --check ]; then printf '%s\n' "$libs"; fi
  exit 0
fi
if [ "${1:-}" = --check ]; then exit 1; fi

mkdir -p "$cache/kafka"
work=$(mktemp -d "$cache/kafka/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
printf '%s\n' "tracerag: downloading the jars of Apache Kafka 4.4.0 for the tests (43 MiB) into $libs" >&2
if ! mvn -q -B -f "$here/pom.xml" -Dmaven.repo.local="$work/repository" dependency:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory="$work/libs" >"$work/log" 2>&1; then
  grep -m 3 ERROR "$work/log" >&2 || tail -n 3 "$work/log" >&2
  printf '%s\n' "tracerag: Kafka's jars cannot be fetched (see above)" \
    "tracerag: remedy: connect to the network, or give Maven its proxy in ~/.m2/settings.xml; ./check --quick does without them" >&2
  exit 1
fi
mv "$work/libs" "$libs"
printf '%s\n' "$libs"
