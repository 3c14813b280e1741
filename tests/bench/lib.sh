# What every bench shares: a release build, a folder of its own, and the table. To be sourced.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# SLUG names another binary to measure.
if test -z "${SLUG-}"; then
  cargo build --release --locked --quiet
  SLUG="$(cargo metadata --no-deps --format-version 1 | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release/slug"
fi
export SLUG

# BENCH_DIR names another disk.
BENCH="$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/slug-bench.XXXXXX")"
export BENCH SLUG_STORE="$BENCH/store" SLUG_APP=bench
trap 'rm -rf "$BENCH"' EXIT

# measure ROUNDS NAME COMMAND [NAME COMMAND]…: each command by bash, in turn (a b, a b, …), so that what else the
# machine does falls on all alike. Prints the median, fastest and slowest wall time, and the median CPU time of all
# the processes of each. `PREPARE` is run before each command and not measured.
measure() {
  python3 - "$@" <<'PY'
import os
import resource
import statistics
import subprocess
import sys
import time

rounds, pairs = int(sys.argv[1]), sys.argv[2:]
commands = list(zip(pairs[::2], pairs[1::2]))
taken = {name: [] for name, _ in commands}
prepare = os.environ.get("PREPARE")
for number in range(rounds + 1):
    for name, command in commands:
        if prepare:
            subprocess.run(["bash", "-c", prepare], check=True)
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(["bash", "-c", command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if number:  # the first round warms the caches of both
            taken[name].append((wall, cpu))
print(f"| {'':24} | wall ms, median (min–max) | CPU ms |")
print(f"|{'-' * 26}|---------------------------|--------|")
for name, times in taken.items():
    walls, cpus = [wall * 1000 for wall, _ in times], [cpu * 1000 for _, cpu in times]
    wall = f"{statistics.median(walls):.1f} ({min(walls):.1f}–{max(walls):.1f})"
    print(f"| {name:24} | {wall:25} | {statistics.median(cpus):6.1f} |")
PY
}

# An app with Procfile alone: app NAME LINES
app() {
  mkdir -p "$BENCH/$1"
  printf '%s\n' "$2" >"$BENCH/$1/Procfile"
}
