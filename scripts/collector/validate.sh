#!/usr/bin/env bash
# Has the Collector itself check each configuration that is shipped, alone and laid over another as the documents say.
#
#   scripts/collector/validate.sh OTELCOL
set -euo pipefail
collector=$1
cd "$(dirname "$0")/../.."
# What the configurations take from the environment; nobody connects to it.
export KAFKA_BROKERS=127.0.0.1:9092 OTLP_ENDPOINT=127.0.0.1:4317 RECORDING=/tmp REDACTION_KEY=0123456789abcdef0123456789abcdef
export KAFKA_USERNAME=collector KAFKA_PASSWORD=secret KAFKA_CA=/tmp/ca.pem

valid() {
  local file options=()
  for file in "$@"; do options+=("--config=$file"); done
  "$collector" validate "${options[@]}" || { printf 'not valid: %s\n' "$*" >&2; exit 1; }
}

deploy=deploy/collector
for base in "$deploy/kafka-keyed.yaml" "$deploy/kafka-unkeyed.yaml"; do
  valid "$base"
  valid "$base" "$deploy/redaction.yaml"
  valid "$base" "$deploy/redaction.yaml" "$deploy/tail-sampling.yaml"
  valid "$base" "$deploy/kafka-secured.yaml"
  valid "$base" "$deploy/redaction.yaml" "$deploy/tail-sampling.yaml" "$deploy/kafka-secured.yaml"
done
example=examples/checkout/collector
valid "$deploy/kafka-keyed.yaml" "$deploy/redaction.yaml" "$example/local.yaml"
valid "$deploy/kafka-keyed.yaml" "$deploy/redaction.yaml" "$example/local.yaml" "$example/files.yaml"
