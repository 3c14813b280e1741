#!/usr/bin/env bash
# From the start of `slug up` to the first line of a trivial process (goal: under 25 ms), against a bare shell.
. "$(dirname "$0")/lib.sh"
app trivial 'worker: echo first; exec sleep 1000'
printf '[process.worker]\ninstances = 1\n' >"$BENCH/trivial/slug.toml"
"$SLUG" release -q "$("$SLUG" build -q "$BENCH/trivial")" >"$BENCH/version"

# Reads until the line comes, then ends the program and waits for it.
first_line() {
  cat <<PY
import os, signal, subprocess
program = subprocess.Popen(["bash", "-c", "exec $1 2>&1"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True)
while b"first" not in program.stdout.readline(): pass
print("first", flush=True)
os.killpg(program.pid, signal.SIGKILL)
PY
}
first_line "$SLUG up --listen 127.0.0.2:0" >"$BENCH/slug.py"
first_line "sh -c 'echo first; sleep 1000'" >"$BENCH/sh.py"
echo "Both with the start of python3, the timer, which the second row is nearly all of:"
measure "${ROUNDS:-20}" "slug up" 'python3 "$BENCH/slug.py"' "sh" 'python3 "$BENCH/sh.py"'
