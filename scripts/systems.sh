# shellcheck shell=bash
# What differs from system to system: how packages are called, and who may install them; sourced by scripts/setup.sh.
#
# Tried in fresh root file systems: Debian 12 and 13, Ubuntu 22.04 and 24.04. On others with apt-get Debian's names are
# taken; where there is no apt-get the set-up says what is missing, and goes on if nothing is.

# "debian 12", "ubuntu 24.04", "fedora 42": by os-release, whose fields are shell.
system_name() {
  local file=${SETUP_OS_RELEASE:-/etc/os-release}
  (
    ID=unknown VERSION_ID=''
    # shellcheck source=/dev/null
    if [ -r "$file" ]; then . "$file"; fi
    printf '%s\n' "$ID${VERSION_ID:+ $VERSION_ID}"
  )
}

# The packages of this system for what Debian 12 calls so, one a line as they come.
package_names() {
  local system name
  system=$(system_name)
  while read -r name; do
    case $system:$name in
    # Its default is Java 11; Kafka needs 17.
    "ubuntu 22.04:default-jre-headless") echo openjdk-17-jre-headless ;;
    "ubuntu 22.04:default-jdk-headless") echo openjdk-17-jdk-headless ;;
    *) printf '%s\n' "$name" ;;
    esac
  done
}

# What helps when apt-get knows a package not.
packages_remedy() {
  case $(system_name) in
  ubuntu*) printf '%s\n' "switch the component universe on (add-apt-repository universe), then: apt-get install -y --no-install-recommends $1" ;;
  *) printf '%s\n' "apt-get install -y --no-install-recommends $1" ;;
  esac
}

# Sets SETUP_AS_ROOT to the words before a command that root has to run: none for root, sudo for who may use it. Fails
# for everybody else, and where sudo would ask for a password that nobody is there to type.
# shellcheck disable=SC2034 # read by scripts/setup.sh
as_root() {
  SETUP_AS_ROOT=()
  if [ "$(id -u)" -eq 0 ]; then return 0; fi
  have sudo || return 1
  if sudo -n true 2>/dev/null; then
    SETUP_AS_ROOT=(sudo -n)
  elif [ -t 0 ]; then
    SETUP_AS_ROOT=(sudo)
  else
    return 1
  fi
}
