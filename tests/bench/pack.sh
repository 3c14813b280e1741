#!/usr/bin/env bash
# Packs a tree of 17,000 files and 300 MB into a layer, against `tar | zstd -3 -T0` (goal: not slower), without digests and
# with both of them made besides. The first row is the whole build: it copies the source and asks the buildpacks too.
. "$(dirname "$0")/lib.sh"
app tree 'web: true'
python3 tests/bench/tree.py "$BENCH/tree"

# The tar is hashed before it is compressed and after, as a layer's two names want it.
peer='tar --sort=name --mtime=@315532801 --owner=0 --group=0 --numeric-owner -C "$BENCH" -c tree |
  tee >(sha256sum >"$BENCH/diff-id") | zstd -q -3 -T0 | tee >(sha256sum >"$BENCH/digest") >"$BENCH/tree.tar.zst"; sync "$BENCH/tree.tar.zst"; wait'
bare='tar -C "$BENCH" -c tree | zstd -q -3 -T0 >"$BENCH/tree.tar.zst"; sync "$BENCH/tree.tar.zst"'
packing='"$SLUG" build -q --json "$BENCH/tree" | python3 -c "
import json, sys
phases = {phase[\"name\"]: phase[\"ms\"] for phase in json.load(sys.stdin)[\"built\"][\"phases\"]}
print(\"wall\", phases[\"export\"])"'

export PREPARE='rm -rf "$SLUG_STORE" "$BENCH/tree.tar.zst"; sync -f "$BENCH"'
measure "${ROUNDS:-5}" "slug build" '"$SLUG" build -q "$BENCH/tree"' "its packing" "$packing" \
  "tar | zstd, two digests" "$peer" "tar | zstd" "$bare"
