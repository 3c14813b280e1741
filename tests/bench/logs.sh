#!/usr/bin/env bash
# What a million lines cost: one writer and four with a write a line, and one with writes of 64 KiB; `slug up` with its
# history, `slug start`, s6-log, honcho and a bare shell, in turn. LINES and ROUNDS say how much; HONCHO=no leaves out
# honcho, which takes a hundred times as long.
. "$(dirname "$0")/lib.sh"
cc -O2 -Wall -Wextra -o "$BENCH/lines" tests/bench/lines.c
if test "${HONCHO:-yes}" = yes; then
  python3 -m venv "$BENCH/venv"
  "$BENCH/venv/bin/pip" install --quiet honcho==2.0.0
fi
python3 tests/bench/logs.py
