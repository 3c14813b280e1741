#!/usr/bin/env bash
# Builds with large cached layers (goals: design.md): the first build of a layer of 66,000 files and 600 MB, from the end of
# its buildpack to the durable slug, against `tar | zstd -3 -T0` (not slower) and `tar | gzip` (a quarter at most); rebuilds
# without a change of that layer, and of 12 layers of 55 MB (under 300 ms, under 1 MB written); one of the 12 changed (its
# packing and 300 ms). Then the peak memory of the first build (under 100 MB).
. "$(dirname "$0")/lib.sh"

# buildpack NAME LAYERS: copies the tree beside it into so many cached layers, once, and changes the one that $CHANGE of the app names
buildpack() {
  mkdir -p "$BENCH/$1/bin"
  printf 'api = "0.10"\n[buildpack]\nid = "bench/%s"\nversion = "1.0.0"\n' "$1" >"$BENCH/$1/buildpack.toml"
  printf '#!/bin/sh\nexit 0\n' >"$BENCH/$1/bin/detect"
  cat >"$BENCH/$1/bin/build" <<SH
#!/bin/sh
set -eu
for layer in $(seq -s ' ' "$2"); do
  if [ ! -d "\$1/layer\$layer" ]; then
    cp -a "\$CNB_BUILDPACK_DIR/tree" "\$1/layer\$layer"
    echo "\$layer" >"\$1/layer\$layer/number"
  fi
  printf '[types]\nlaunch = true\ncache = true\n' >"\$1/layer\$layer.toml"
done
if [ -f change ]; then cp change "\$1/layer1/changed"; fi
SH
  chmod +x "$BENCH/$1/bin/"*
}

buildpack many 12
buildpack one 1
python3 tests/bench/tree.py "$BENCH/many/tree" 1400 55000000
python3 tests/bench/tree.py "$BENCH/one/tree" 66000 600000000
app plain 'web: true'
app changing 'web: true'
build='"$SLUG" build -q'

# phase NAME: how long that part of a build took, of its report
phase() {
  echo "| python3 -c \"
import json, sys
phases = {phase['name']: phase['ms'] for phase in json.load(sys.stdin)['built']['phases']}
print('wall', phases['$1'])\""
}
export PREPARE='rm -rf "$SLUG_STORE" "$BENCH/out"; sync -f "$BENCH"'
measure "${ROUNDS:-3}" \
  "66,000 files: packing" "$build --json --buildpack \"\$BENCH/one\" \"\$BENCH/plain\" $(phase export)" \
  "tar | zstd -3 -T0" 'tar -C "$BENCH/one" -c tree | zstd -q -3 -T0 >"$BENCH/out"; sync "$BENCH/out"' \
  "tar | gzip" 'tar -C "$BENCH/one" -c tree | gzip >"$BENCH/out"; sync "$BENCH/out"'

unset PREPARE
rm -rf "$BENCH/out"
one="$build --app one --buildpack \"\$BENCH/one\" \"\$BENCH/plain\""
many="$build --app many --buildpack \"\$BENCH/many\" \"\$BENCH/plain\""
changed="$build --app changing --buildpack \"\$BENCH/many\" \"\$BENCH/changing\""
/usr/bin/time -f "peak memory of the first build: %M KiB" bash -c "$one"
bash -c "$many; $changed"
measure "${ROUNDS:-10}" "66,000 files: no change" "$one" "12 layers: no change" "$many" \
  "one of 12 changed" "echo \$RANDOM >\"\$BENCH/changing/change\"; $changed"
strace -f -e trace=write,pwrite64,copy_file_range,sendfile -o "$BENCH/writes" bash -c "$many"
awk '{ sum += $NF > 0 ? $NF : 0 } END { print "written by a rebuild without a change, bytes: " sum }' "$BENCH/writes"
