#!/usr/bin/env bash
# Plays the story and makes recording/ from it: OTLP/JSON lines of spans, logs and metrics, flags, deployments, heaps and
# the truth. What is recorded has the times of the recording, and ids of its own.
#
#   ./record.sh [--seconds N] [--rate N] [--seed N]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
here=$(cd "$(dirname "$0")" && pwd)
"$here/run.sh" "$work/story" "$@"
# shellcheck source=setup.sh
. "$here/setup.sh"
cd "$here"
"$CHECKOUT_PYTHON" -m story.record "$work/story" "$here/recording"
