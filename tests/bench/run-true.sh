#!/usr/bin/env bash
# What the sandbox, the release and the ledger cost a one-off: `slug run -- true` over `true` (goal: under 15 ms).
. "$(dirname "$0")/lib.sh"
app trivial 'web: true'
"$SLUG" release -q "$("$SLUG" build -q "$BENCH/trivial")" >"$BENCH/version"
measure "${ROUNDS:-50}" "slug run -- true" '"$SLUG" run -- true' "true" '/usr/bin/true' "unshare -mpf true" 'unshare -mpf -- true 2>/dev/null || unshare -rmpf true'
