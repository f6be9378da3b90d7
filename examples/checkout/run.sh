#!/usr/bin/env bash
# Plays the story of the intermittent 502s.
#
#   ./run.sh FOLDER [--seconds N] [--rate N] [--seed N]                  into files below FOLDER, which must be new
#   ./run.sh FOLDER --brokers HOST:PORT [--seconds N] …                  into the topics of a Kafka
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
# shellcheck source=setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
folder=$(realpath -m "$1")
shift
brokers=
previous=
for argument in "$@"; do
  [ "$previous" != --brokers ] || brokers=$argument
  previous=$argument
done
# Each names what the Collector's configurations ask for, used or not.
export KAFKA_BROKERS=${brokers:-127.0.0.1:9092} RECORDING=$folder
cd "$here"
exec "$CHECKOUT_PYTHON" -m story.story --folder "$folder" --binaries "$CHECKOUT_BINARIES" --collector "$CHECKOUT_COLLECTOR" "$@"
