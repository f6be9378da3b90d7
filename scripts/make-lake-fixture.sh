#!/usr/bin/env bash
# Writes tests/fixtures/lake-schema-N.tar.gz: a small lake of schema N, by a program of a release that writes it.
# The tests read and migrate it with the releases after. Made once, when a schema becomes the released one, and never
# again: what counts is that another program wrote it.
#
#   scripts/make-lake-fixture.sh N PROGRAM
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
program=$(realpath "$2")
telemetry=$PWD/tests/fixtures/trainticket
changes=$PWD/examples/checkout/recording
target=$PWD/tests/fixtures/lake-schema-$version.tar.gz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# A few lines are enough: every table gets rows or stays empty, as it does in any lake.
zstd -dcq "$telemetry/traces.jsonl.zst" | sed -n '1,3p' > traces.jsonl
zstd -dcq "$telemetry/logs.jsonl.zst" | sed -n '1,3p' > logs.jsonl
zstd -dcq "$telemetry/metrics.jsonl.zst" | sed -n '1p' > metrics.jsonl
sed -n '1,20p' "$changes/flags.jsonl" > flags.jsonl
sed -n '1,20p' "$changes/deployments.jsonl" > deployments.jsonl
sed -n '1,5p' "$changes/heaps.jsonl" > heaps.jsonl
export TRACERAG_EMBEDDING__MODEL=hashed-ngrams TRACERAG_EMBEDDING__CACHE=$work/cache
# In two steps, so that the journal and the tables have a past.
"$program" --lake lake replay traces.jsonl logs.jsonl metrics.jsonl
"$program" --lake lake replay flags.jsonl deployments.jsonl heaps.jsonl
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - lake | gzip -9n > "$target"
ls -l "$target"
