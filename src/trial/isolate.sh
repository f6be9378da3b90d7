# The first process of what is tried: gives it its limits, takes away what it may not reach, and starts it.
#
# Arguments: KiB of memory, `cut` or `open` for the network, `cut` or `open` for files, the two folders that may be
# written; folders that stay visible below /tmp, `--`; folders whose changes are thrown away, `--`; sockets, `--`; and the
# program. 125 means that it did not start.
ulimit -c 0
ulimit -v "$1" || exit 125
room=$1 network=$2 files=$3 own=$4 tree=$5 covers=$4/covers
shift 5

refuse() {
  echo "$1 cannot be closed to the code" >&2
  exit 125
}

if [ "$network" = cut ]; then ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null || :; fi

if [ "$files" = cut ]; then
  for folder in "$own" "$tree"; do mount --bind "$folder" "$folder" || refuse "$folder"; done
  mounts=$(cat /proc/self/mountinfo) || refuse /proc
  while read -r _ _ _ _ point options _; do
    # The kernel writes a blank as \040. What is covered below, or cannot even be seen, need not be made read-only.
    point=$(printf '%b' "$point")
    case $point in "$own" | "$tree" | /proc | /proc/* | /run/user/*) continue ;; esac
    [ -e "$point" ] || continue
    # These flags are locked here and have to be given again; the kernel keeps the others.
    flags=remount,bind,ro
    for flag in nosuid nodev noexec; do
      case ,$options, in *,$flag,*) flags=$flags,$flag ;; esac
    done
    mount -o "$flags" "$point" || refuse "$point"
  done <<MOUNTS
$mounts
MOUNTS
  # A container may not allow a new one. Then that of the container hides others' processes no less than before.
  mount -t proc proc /proc 2>/dev/null || :
  for path in /proc/sys /proc/sysrq-trigger /proc/irq /proc/bus /proc/fs; do
    [ -e "$path" ] || continue
    mount --bind "$path" "$path" && mount -o remount,bind,ro "$path" || refuse "$path"
  done
  mkdir "$covers" && mount -t tmpfs -o "size=${room}k,mode=755,nosuid,nodev" tmpfs "$covers" || refuse /tmp
  for folder in /tmp /var/tmp /dev/shm; do
    mkdir -p "$covers$folder" && chmod 1777 "$covers$folder" || refuse "$folder"
  done
fi

while [ "$1" != -- ]; do
  case $1 in
    /tmp/* | /var/tmp/* | /dev/shm/*)
      if [ -d "$1" ] && [ ! -e "$covers$1" ]; then
        mkdir -p "$covers$1" && mount --rbind "$1" "$covers$1" || refuse "$1"
      fi
      ;;
  esac
  shift
done
shift

if [ "$files" = cut ]; then
  for folder in /tmp /var/tmp /dev/shm; do
    [ ! -d "$folder" ] || mount --rbind "$covers$folder" "$folder" || refuse "$folder"
  done
fi

layer=0
while [ "$1" != -- ]; do
  layer=$((layer + 1))
  upper=$covers/layers/$layer
  mkdir -p "$upper/upper" "$upper/work" || refuse "$1"
  # Where there is no overlayfs for users, the folder stays read-only.
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$upper/upper,workdir=$upper/work,userxattr" "$1" 2>/dev/null || :
  shift
done
shift

# Sockets in the file system are reached without network and although their folders are read-only.
while [ "$1" != -- ]; do
  if [ -S "$1" ]; then mount --bind /dev/null "$1" || refuse "$1"; fi
  shift
done
shift

if [ "$files" = cut ]; then
  for folder in /run/user /run/dbus; do
    if [ -d "$folder" ]; then mount -t tmpfs -o ro tmpfs "$folder" || refuse "$folder"; fi
  done
  cd "$PWD" || refuse "$PWD"
  # In a user namespace below this one mounts cannot be undone.
  unshare --user --map-root-user --mount -- "$@"
else
  "$@"
fi
# The program is a child of its namespace's first process, which would not get signals as others do.
exit $?
