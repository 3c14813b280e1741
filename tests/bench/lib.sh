# What every bench shares: a release build, a folder of its own, and the table. To be sourced.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# SLUG names another binary to measure.
if test -z "${SLUG-}"; then
  cargo build --release --locked --quiet
  SLUG="$(cargo metadata --no-deps --format-version 1 | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release/slug"
fi
export SLUG

# BENCH_ON says where the store and the trees lie: `tmpfs`, which shows what the commands do themselves; or `ext4`, a fresh one
# with a journal on a loop device (root alone), which adds what waiting for a disk costs; or a folder.
BENCH_ON="${BENCH_ON:-tmpfs}"
case "$BENCH_ON" in
  tmpfs) BENCH="$(mktemp -d /dev/shm/slug-bench.XXXXXX)" ;;
  ext4)
    image="$(mktemp "${TMPDIR:-/tmp}/slug-bench.XXXXXX")"
    truncate -s 4G "$image"
    mkfs.ext4 -q -F "$image"
    BENCH="$(mktemp -d "${TMPDIR:-/tmp}/slug-bench.XXXXXX")"
    mount -o loop "$image" "$BENCH"
    ;;
  *) BENCH="$(mktemp -d "$BENCH_ON/slug-bench.XXXXXX")" ;;
esac
export BENCH BENCH_ON SLUG_STORE="$BENCH/store" SLUG_APP=bench

leave() {
  if test "$BENCH_ON" = ext4; then
    umount "$BENCH"
    rm "$image"
  fi
  rm -rf "$BENCH"
}
trap leave EXIT

# measure ROUNDS NAME COMMAND [NAME COMMAND]…: each command by bash, in turn (a b, a b, …), so that what else the
# machine does falls on all alike. Prints wall time and the CPU time of all the processes of each, median and range. A
# command whose output is `wall MS` has measured itself, for it is a part of what is run. `PREPARE` is run before each
# command and not measured.
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
        done = subprocess.run(["bash", "-c", command], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if done.stdout.startswith(b"wall "):
            wall, cpu = float(done.stdout.split()[1]) / 1000, None
        if number:  # the first round warms the caches of both
            taken[name].append((wall, cpu))


def column(seconds):
    if None in seconds:
        return "–"
    ms = [second * 1000 for second in seconds]
    return f"{statistics.median(ms):.1f} ({min(ms):.1f}–{max(ms):.1f})"


load = open("/proc/loadavg").read().split()[0]
print(f"{rounds} rounds on {os.environ['BENCH_ON']}, {os.cpu_count()} processors, load {load}; ms, median (min–max)\n")
print(f"| {'':24} | {'wall':25} | {'CPU':25} |")
print(f"|{'-' * 26}|{'-' * 27}|{'-' * 27}|")
for name, times in taken.items():
    wall, cpu = (column(list(part)) for part in zip(*times))
    print(f"| {name:24} | {wall:25} | {cpu:25} |")
PY
}

# An app with Procfile alone: app NAME LINES
app() {
  mkdir -p "$BENCH/$1"
  printf '%s\n' "$2" >"$BENCH/$1/Procfile"
}
