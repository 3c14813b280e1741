#!/usr/bin/env bash
# Packs a tree of 17,000 files and 300 MB into a layer, against `tar | zstd` with both digests made besides.
. "$(dirname "$0")/lib.sh"
app tree 'web: true'
python3 tests/bench/tree.py "$BENCH/tree"

# The tar is hashed before it is compressed and after, as a layer's two names want it.
peer='tar --sort=name --mtime=@315532801 --owner=0 --group=0 --numeric-owner -C "$BENCH" -c tree |
  tee >(sha256sum >"$BENCH/diff-id") | zstd -q -3 -T0 | tee >(sha256sum >"$BENCH/digest") >"$BENCH/tree.tar.zst"; sync "$BENCH/tree.tar.zst"; wait'
bare='tar -C "$BENCH" -c tree | zstd -q -3 -T0 >"$BENCH/tree.tar.zst"; sync "$BENCH/tree.tar.zst"'

export PREPARE='rm -rf "$SLUG_STORE"; sync'
measure "${ROUNDS:-5}" "slug build" '"$SLUG" build -q "$BENCH/tree"' "tar | zstd, two digests" "$peer" "tar | zstd" "$bare"
