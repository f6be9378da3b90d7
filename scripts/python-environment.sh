# Sourced: a Python environment of its own in the cache folder, named by its pins. Needs Python 3.11 with venv.
#
#   python_environment FOLDER NAME WHAT [--check]
#
# installs what FOLDER/requirements.txt pins into NAME in the cache folder if it is missing, and prints the path of the
# environment's Python; with --check it prints nothing, and its status says whether all is there. WHAT is told to who waits.
python_environment() {
  local pins out log cache=${XDG_CACHE_HOME:-$HOME/.cache}/tracerag
  pins=$(sha256sum <"$1/requirements.txt" | cut -c1-12)
  out=$cache/$2/$pins

  # The Python that the environment was made from may have gone since.
  if [ -e "$out/.done" ] && "$out/bin/python" -c '' 2>/dev/null; then
    if [ "${4:-}" != --check ]; then printf '%s\n' "$out/bin/python"; fi
    return 0
  fi
  if [ "${4:-}" = --check ]; then return 1; fi

  printf '%s\n' "tracerag: installing $3 into $out" >&2
  log=$(mktemp)
  rm -f "$out/.done"
  if ! { python3 -m venv --clear "$out" &&
    "$out/bin/python" -m pip --quiet --disable-pip-version-check install --requirement "$1/requirements.txt"; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    rm -f "$log"
    printf '%s\n' "tracerag: installing $3 failed (see above)" \
      "tracerag: remedy: connect to the network, or set HTTPS_PROXY, and start again" >&2
    return 1
  fi
  rm -f "$log"
  touch "$out/.done"
  printf '%s\n' "$out/bin/python"
}
