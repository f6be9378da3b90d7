# Sourced by run.sh, record.sh and test.sh: the Collector, a virtual environment and the Go binaries, below the cache
# folder and nowhere else. Needs Python 3.11 or newer with venv, and Go 1.26. Sets CHECKOUT_PYTHON, CHECKOUT_BINARIES,
# CHECKOUT_COLLECTOR and REDACTION_KEY.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tracerag
venv=$cache/checkout/venv-$(sha256sum "$here/requirements.txt" | cut -c1-8)
binaries=$cache/checkout/bin

if [ ! -e "$venv/.done" ]; then
  printf 'checkout: installing the Python packages into %s\n' "$venv" >&2
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" --quiet --disable-pip-version-check install --requirement "$here/requirements.txt"
  touch "$venv/.done"
fi

# Go's caches stay out of the user's own, and can be removed without more ado.
export GOMODCACHE=$cache/checkout/modules GOCACHE=$cache/checkout/objects GOFLAGS="-buildvcs=false -modcacherw"
export GOWORK=off CGO_ENABLED=0

# One source, three releases: see payments/release.go. Go builds again only what was changed.
printf 'checkout: building payments 1.8.2, 1.9.0 and 1.9.1\n' >&2
mkdir -p "$binaries"
for release in 1.8.2 1.9.0 1.9.1; do
  go -C "$here/payments" build -trimpath -tags "release_${release//./_}" -o "$binaries/payments-$release" ./cmd/payments
done
go -C "$here/payments" build -trimpath -o "$binaries/publish" ./cmd/publish
# And what its tests are built from: a trial (`tracerag try`) throws away what it compiles, and would do so every time.
printf 'checkout: building what tests of payments need\n' >&2
go -C "$here/payments" test -run '^$' ./... >/dev/null

CHECKOUT_COLLECTOR=$("$here/../../scripts/collector/build.sh")/otelcol
CHECKOUT_PYTHON=$venv/bin/python
CHECKOUT_BINARIES=$binaries
# The key of the hashes that the Collector makes of customers' ids: the same from run to run, so that recordings compare.
# It protects nothing here, for all customers are made up; in production see deploy/collector/redaction.yaml.
export REDACTION_KEY=${REDACTION_KEY:-checkout-example-key-of-32-bytes!}
export CHECKOUT_COLLECTOR CHECKOUT_PYTHON CHECKOUT_BINARIES
