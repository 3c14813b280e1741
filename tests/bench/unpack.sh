#!/usr/bin/env bash
# Unpacks a layer of 17,000 files and 300 MB, every digest checked, against `tar --zstd -x`, which checks none.
. "$(dirname "$0")/lib.sh"
app tree 'web: true'
python3 tests/bench/tree.py "$BENCH/tree"
slug="$("$SLUG" build -q "$BENCH/tree")"
"$SLUG" release -q "$slug" >"$BENCH/version"
layer="$(find "$SLUG_STORE/blobs" -type f -size +10M)"
export layer

# The first run of a release on a host unpacks it; the peer's tree is on disk too when its time ends.
export PREPARE='rm -rf "$SLUG_STORE/layers" "$BENCH/out"; mkdir "$BENCH/out"; sync -f "$BENCH"'
measure "${ROUNDS:-5}" "slug run -- true" '"$SLUG" run -- true' "tar --zstd -x" 'tar --zstd -xf "$layer" -C "$BENCH/out"; sync -f "$BENCH/out"' \
  "tar --zstd -x, not synced" 'tar --zstd -xf "$layer" -C "$BENCH/out"'
