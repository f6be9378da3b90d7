#!/usr/bin/env bash
# The example's own tests: of the Go service in each release, and of the Python parts.
set -euo pipefail
# shellcheck source=setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$here/payments"
for release in 1.8.2 1.9.0 1.9.1; do
  go vet -tags "release_${release//./_}" ./...
  go test -tags "release_${release//./_}" ./...
done
cd "$here"
"$CHECKOUT_PYTHON" -m unittest discover --start-directory unittests --top-level-directory .
