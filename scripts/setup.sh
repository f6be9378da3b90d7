# shellcheck shell=bash
# Set-up shared by ./demo and ./check; sourced, never run. It installs what is missing, says what it
# installs, and says nothing where all is there. Everything it fetches lies in one folder, SETUP_CACHE.
#
#   setup_begin                       folders, disk, memory, locks
#   setup_packages rust|build|kafka … packages of the system for that purpose
#   setup_rust                        the Rust toolchain
#   setup_components NAME ...         components of the Rust toolchain: rustfmt, clippy
#   setup_model                       ONNX Runtime and the sentence model
#   setup_sources                     the crates' sources
#   setup_kafka, setup_collector      what the tests with a real broker need (scripts/kafka, scripts/collector)
#   setup_versitygw                   the S3 server of the tests (scripts/versitygw)
#   setup_clients                     database drivers, agents' clients and a browser for the tests of a server (scripts/clients)
#   setup_checkout                    what examples/checkout needs to run
#   setup_kit, kit_tests              what the tests of deploy/ need (scripts/kit), and these tests
#   setup_what_wants_newer_go         both, as far as Go allows; with CI=true nothing else may keep them from running
#   build_with_progress LABEL cargo … runs cargo and shows how long it will still take

# shellcheck source=scripts/systems.sh
. "$SETUP_TOP/scripts/systems.sh"

# Marks a target folder that the set-up made, and one that holds everything that this script builds: ./check builds
# much more than ./demo does.
SETUP_MADE=.tracerag-made
SETUP_BUILT=.tracerag-built-${SETUP_SELF##*/}

say() { printf '%s\n' "tracerag: $*" >&2; }

# die PROBLEM REMEDY: the remedy is always the last line.
die() {
  say "$1"
  say "remedy: $2"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE WANT: compares dotted versions.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

cache_folder() { printf '%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}/tracerag"; }

nearest_existing() {
  local dir=$1
  while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
  printf '%s\n' "$dir"
}

free_gib() { df -Pk "$(nearest_existing "$1")" | awk 'NR==2 {printf "%d\n", $4 / 1048576}'; }

# MiB of memory that this process may have: the machine's, or the control group's where that is less.
memory_mib() {
  local total limit
  total=$(awk '/^MemTotal:/ {printf "%d\n", $2 / 1024}' /proc/meminfo 2>/dev/null)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  if [ "$limit" != max ] && [ $((limit / 1048576)) -lt "${total:-0}" ]; then total=$((limit / 1048576)); fi
  printf '%s\n' "${total:-4096}"
}

available_mib() { awk '/^MemAvailable:/ {printf "%d\n", $2 / 1024}' /proc/meminfo 2>/dev/null || echo 4096; }

# The oldest Rust that builds this.
rust_wanted() { sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$SETUP_TOP/Cargo.toml" | head -n 1; }

# The version of the Rust on the PATH; nothing where there is none that runs.
rust_version() { if have cargo; then rustc --version 2>/dev/null | awk '{print $2}' | sed 's/-.*//'; fi; }

# Whether a Rust is there that is new enough. One of rustup's counts that is not on the PATH yet.
rust_works() {
  local version
  if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH="$HOME/.cargo/bin:$PATH"; fi
  version=$(rust_version)
  [ -n "$version" ] && at_least "$version" "$(rust_wanted)"
}

# Takes the Rust that is there, else one in the cache folder.
setup_rust() {
  local version bin
  if rust_works; then return 0; fi
  if ! "$SETUP_TOP/scripts/fetch-rust.sh" --check; then
    version=$(rust_version || true)
    say "${version:+Rust $version is too old; }Rust $(rust_wanted) or newer is needed: one is taken for tracerag alone"
  fi
  bin=$("$SETUP_TOP/scripts/fetch-rust.sh") || exit 1
  PATH="$bin:$PATH"
  hash -r
  rust_works || die "the Rust in $bin does not run: $(rustc --version 2>&1 | head -n 1)" \
    "install Rust $(rust_wanted) or newer with rustup and start again"
}

# A first build fills about 12 GiB; one that has been through needs room for what changed only.
check_disk() {
  local need=15 free
  [ ! -e "$CARGO_TARGET_DIR/$SETUP_BUILT" ] || need=4
  free=$(free_gib "$CARGO_TARGET_DIR")
  [ "$free" -ge "$need" ] || die "$free GiB free for $CARGO_TARGET_DIR, the build needs $need" \
    "free some space, or name a roomier folder: CARGO_TARGET_DIR=/path $SETUP_SELF"
}

# rustc takes up to 3 GiB for the largest crates: fewer jobs where there is less for each core.
choose_jobs() {
  local cores memory jobs available
  available=$(available_mib)
  [ "$available" -ge 1500 ] || die "$available MiB of memory available, the build needs at least 1500" \
    "stop other programs or add swap, then start again"
  [ -z "${CARGO_BUILD_JOBS:-}" ] || return 0
  cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
  memory=$(memory_mib)
  jobs=$cores
  if [ $((memory / 3072)) -lt "$cores" ]; then
    jobs=$((memory / 3072))
    [ "$jobs" -ge 1 ] || jobs=1
    say "$((memory / 1024)) GiB of memory for $cores cores: building with $jobs job(s)"
  fi
  export CARGO_BUILD_JOBS=$jobs
}

# cargo would wait in front of another cargo's lock without an end and without a reason in view.
check_lock() {
  local lock=$CARGO_TARGET_DIR/debug/.cargo-lock waited=0
  have flock || return 0
  [ -e "$lock" ] || return 0
  while ! flock -n "$lock" true; do
    [ "$waited" -gt 0 ] || say "another cargo holds $CARGO_TARGET_DIR; waiting up to ${SETUP_LOCK_WAIT:-120} s"
    [ "$waited" -lt "${SETUP_LOCK_WAIT:-120}" ] || die "another cargo still holds $CARGO_TARGET_DIR" \
      "wait until it is done, or build elsewhere: CARGO_TARGET_DIR=/path $SETUP_SELF"
    sleep 2
    waited=$((waited + 2))
  done
}

setup_begin() {
  SETUP_CACHE=$(cache_folder)
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$SETUP_CACHE/target}
  local new=no
  [ -d "$CARGO_TARGET_DIR" ] || new=yes
  mkdir -p "$SETUP_CACHE" "$CARGO_TARGET_DIR" 2>/dev/null || die "cannot write to $SETUP_CACHE or $CARGO_TARGET_DIR" \
    "name folders that you can write to: XDG_CACHE_HOME=/path CARGO_TARGET_DIR=/path $SETUP_SELF"
  [ "$new" = no ] || touch "$CARGO_TARGET_DIR/$SETUP_MADE"
  check_disk
  choose_jobs
  check_lock
}

# --- system packages -----------------------------------------------------------------------------

# protoc alone is not enough: Lance's definitions import the well-known types, which Debian packs apart.
protoc_works() {
  local dir ok=1
  have protoc || return 1
  dir=$(mktemp -d)
  printf 'syntax = "proto3";\nimport "google/protobuf/any.proto";\nmessage M { google.protobuf.Any a = 1; }\n' >"$dir/m.proto"
  protoc -I "$dir" -o /dev/null "$dir/m.proto" >/dev/null 2>&1 && ok=0
  rm -rf "$dir"
  return $ok
}

c_headers_work() { printf '#include <stdlib.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1; }

java_major() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }

python_makes_environments() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

# A Python that reads YAML. The one on the PATH may be another than Debian's, and not see Debian's packages.
kit_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import yaml' >/dev/null 2>&1; then
      printf '%s\n' "$python"
      return 0
    fi
  done
  return 1
}

# The browser in which the tests look at the page; tests/clients/page.py knows the same names.
have_chromium() { have chromium || have chromium-browser || have google-chrome; }

# Packages that are missing for the purposes named, one a line. Each is looked for by what it is needed for,
# so that a compiler or a Java from elsewhere counts.
missing_packages() {
  local purpose major
  for purpose in "$@"; do
    case $purpose in
    build)
      have cc || [ -n "${CC:-}" ] || echo gcc
      have c++ || [ -n "${CXX:-}" ] || echo g++
      if have cc && ! c_headers_work; then echo libc6-dev; fi
      have make || echo make
      have pkg-config || echo pkg-config
      if ! have pkg-config || ! pkg-config --exists openssl; then echo libssl-dev; fi
      # For Kafka: Kerberos and the tokens of OIDC. Without libcurl's the build would make one of its own.
      if ! have pkg-config || ! pkg-config --exists libsasl2; then echo libsasl2-dev; fi
      if ! have pkg-config || ! pkg-config --exists libcurl; then echo libcurl4-openssl-dev; fi
      have protoc || echo protobuf-compiler
      protoc_works || echo libprotobuf-dev
      # Without the certificates nothing can be fetched; with rustup's own they are often not there.
      [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -d /etc/pki ] || [ ! -e /etc/debian_version ] || echo ca-certificates
      ;;
    rust)
      if rust_works || "$SETUP_TOP/scripts/fetch-rust.sh" --check; then continue; fi
      have python3 || echo python3
      python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
      ;;
    model)
      if "$SETUP_TOP/scripts/fetch-model.sh" --check; then continue; fi
      have python3 || echo python3
      python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
      ;;
    progress) have python3 || echo python3 ;;
    kit) kit_python >/dev/null || echo python3-yaml ;;
    kafka)
      major=$(java_major 2>/dev/null || true)
      [ "${major:-0}" -ge 17 ] || echo default-jre-headless
      "$SETUP_TOP/scripts/kafka/fetch.sh" --check || have mvn || echo maven
      ;;
    clients)
      # They are left out where Python is too old, as Ubuntu 22.04's own is, and so is what only they need.
      if [ "$(system_name)" = "ubuntu 22.04" ] || have python3; then python_at_least_3_11 || continue; fi
      have psql || echo postgresql-client
      have node || echo nodejs
      # Ubuntu has it as a snap only, which is no package and wants a service that containers lack.
      case $(system_name) in ubuntu*) ;; *) have_chromium || echo chromium ;; esac
      # The tests' Java is run from its source.
      have javac || echo default-jdk-headless
      if "$SETUP_TOP/scripts/clients/build.sh" --check; then continue; fi
      have mvn || echo maven
      have npm || echo npm
      have python3 || echo python3
      python_makes_environments || echo python3-venv
      ;;
    esac
  done | sort -u | package_names
}

setup_packages() {
  local missing
  missing=$(missing_packages "$@" | tr '\n' ' ')
  missing=${missing% }
  [ -n "$missing" ] || return 0
  if ! have apt-get; then
    die "needed and not found on $(system_name), by their Debian names: $missing" \
      "install these with the system's package manager and start again"
  fi
  as_root || die "needed and not installed: $missing" "as root: apt-get install -y --no-install-recommends $missing"
  say "installing with ${SETUP_AS_ROOT[*]:+sudo }apt-get: $missing"
  apt_get update || die "apt-get update failed (see above)" "check the network and /etc/apt/sources.list, then start again"
  # shellcheck disable=SC2086 # a list of words
  apt_get install --no-install-recommends $missing || die "apt-get could not install: $missing (see above)" \
    "$(packages_remedy "$missing")"
  hash -r
  missing=$(missing_packages "$@" | tr '\n' ' ')
  [ -z "$missing" ] || die "installed, and still not usable: $missing" "install a newer version of these by hand and start again"
}

apt_get() {
  local log
  log=$(mktemp)
  # sudo asks for a password on the terminal, not here.
  if ${SETUP_AS_ROOT[@]+"${SETUP_AS_ROOT[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get -y -qq -o DPkg::Lock::Timeout=120 "$@" >"$log" 2>&1 </dev/null; then
    rm -f "$log"
    return 0
  fi
  tail -n 8 "$log" >&2
  rm -f "$log"
  return 1
}

component_works() { cargo "${1/rust/}" --version >/dev/null 2>&1; }

setup_components() {
  local component missing=""
  for component in "$@"; do
    component_works "$component" || missing="$missing $component"
  done
  missing=${missing# }
  [ -n "$missing" ] || return 0
  have rustup || die "needed and not found: $missing" "install $missing for this Rust toolchain and start again"
  say "installing with rustup: $missing"
  # shellcheck disable=SC2086 # a list of words
  (cd "$SETUP_TOP" && rustup component add $missing >&2) || die "rustup could not install: $missing (see above)" \
    "rustup component add $missing"
  for component in $missing; do
    component_works "$component" || die "installed, and still not usable: $component" "rustup component add $component"
  done
}

# --- what comes from the network -----------------------------------------------------------------

setup_model() {
  "$SETUP_TOP/scripts/fetch-model.sh" --check || "$SETUP_TOP/scripts/fetch-model.sh" || exit 1
}

setup_sources() {
  local log
  cargo fetch --locked --offline --manifest-path "$SETUP_TOP/Cargo.toml" >/dev/null 2>&1 && return 0
  say "fetching the sources of the crates (about 200 MB)"
  log=$(mktemp)
  if ! cargo fetch --locked --manifest-path "$SETUP_TOP/Cargo.toml" >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    rm -f "$log"
    die "the crates' sources cannot be fetched (see above)" "connect to the network, or set HTTPS_PROXY, and start again"
  fi
  rm -f "$log"
}

setup_kafka() {
  TRACERAG_TEST_KAFKA_LIBS=$("$SETUP_TOP/scripts/kafka/fetch.sh") || exit 1
  export TRACERAG_TEST_KAFKA_LIBS
}

go_at_least() { have go && at_least "$(go env GOVERSION 2>/dev/null | sed 's/^go//')" "$1"; }

go_works() { go_at_least 1.25; }

# Go 1.25 is enough for what ./check must have. Helm and the modules of examples/checkout want 1.26: with 1.25 these are
# left out, in a line that says so.
go_is_too_old_for_some() { go_works && ! go_at_least 1.26; }

# Sets TRACERAG_TEST_COLLECTOR and TRACERAG_TEST_TELEMETRYGEN, or returns 1 where there is no Go to build them with.
setup_collector() {
  local folder
  "$SETUP_TOP/scripts/collector/build.sh" --check || go_works || return 1
  folder=$("$SETUP_TOP/scripts/collector/build.sh") || exit 1
  export TRACERAG_TEST_COLLECTOR=$folder/otelcol TRACERAG_TEST_TELEMETRYGEN=$folder/telemetrygen
}

# Sets TRACERAG_TEST_VERSITYGW, or returns 1 where there is no Go to build it with.
setup_versitygw() {
  "$SETUP_TOP/scripts/versitygw/build.sh" --check || go_works || return 1
  TRACERAG_TEST_VERSITYGW=$("$SETUP_TOP/scripts/versitygw/build.sh") || exit 1
  export TRACERAG_TEST_VERSITYGW
}

python_at_least_3_11() { python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

node_works() { have node && at_least "$(node --version 2>/dev/null | sed 's/^v//')" 18; }

# Sets TRACERAG_TEST_CLIENTS, or returns 1 where Python or Node.js is too old for the clients.
setup_clients() {
  node_works || return 1
  "$SETUP_TOP/scripts/clients/build.sh" --check || python_at_least_3_11 || return 1
  TRACERAG_TEST_CLIENTS=$("$SETUP_TOP/scripts/clients/build.sh") || exit 1
  export TRACERAG_TEST_CLIENTS
}

checkout_has_python() { python_at_least_3_11 && python_makes_environments; }

# Sets TRACERAG_TEST_CHECKOUT, or returns 1 where Python or Go is too old for the example, or Python has no venv.
setup_checkout() {
  { go_at_least 1.26 && checkout_has_python; } || return 1
  # Now, and not while a test waits for it. In a shell of its own, for it sets Go's environment.
  bash -euo pipefail -c '. "$1"' - "$SETUP_TOP/examples/checkout/setup.sh" || exit 1
  export TRACERAG_TEST_CHECKOUT=$SETUP_TOP/examples/checkout/run.sh
}

# Promtool, or what takes it out of Debian's package.
kit_has_promtool() { have promtool || { have apt-get && have dpkg-deb; }; }

# Sets TRACERAG_TEST_KIT, or returns 1 where Helm cannot be built or promtool not be had.
setup_kit() {
  if ! "$SETUP_TOP/scripts/kit/fetch.sh" --check; then
    go_at_least 1.26 || return 1
    kit_has_promtool || return 1
  fi
  TRACERAG_TEST_KIT=$("$SETUP_TOP/scripts/kit/fetch.sh") || exit 1
  export TRACERAG_TEST_KIT
}

# What wants Go 1.26. It is left out where it lacks nothing but that; with CI=true nothing else may be missing.
setup_what_wants_newer_go() {
  if go_is_too_old_for_some; then
    say "Go is older than 1.26: examples/checkout will not run, nor the chart and the alarms be tried, unless Helm is there already"
    # Known to the tests of the operating kit, which else miss Helm where CI=true.
    export TRACERAG_TEST_OLD_GO=1
  fi
  if ! setup_checkout && ! { go_is_too_old_for_some && checkout_has_python; }; then
    [ "${CI:-}" != true ] || die "CI=true, and examples/checkout cannot run: it needs Go 1.26 or newer, and Python 3.11 or newer with venv" \
      "install Go 1.26, and Python 3.11 with venv (Debian: python3-venv), and start again"
    say "Go 1.26, or Python 3.11 with venv, is not installed: examples/checkout will not run"
  fi
  if ! setup_kit && ! { go_is_too_old_for_some && kit_has_promtool; }; then
    [ "${CI:-}" != true ] || die "CI=true, and Helm or promtool cannot be had: they need Go 1.26 or newer, and apt-get or promtool" \
      "install Go 1.26 or newer, and promtool where there is no apt-get, and start again"
    say "Go 1.26 or newer, or apt-get, is not installed: chart and alarms are not tried with Helm and promtool"
  fi
}

# The tests of the operating kit; those of a tool that is not there are skipped. It writes nothing into the sources.
kit_tests() {
  PYTHONDONTWRITEBYTECODE=1 "$(kit_python)" -m unittest discover -q -s "$SETUP_TOP/tests/kit"
}

# --- building ------------------------------------------------------------------------------------

build_with_progress() {
  local label=$1
  shift
  CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=120 CARGO_TERM_COLOR=never \
    python3 "$SETUP_TOP/scripts/progress.py" "$label" "${CARGO_BUILD_JOBS:-1}" "$@"
}
