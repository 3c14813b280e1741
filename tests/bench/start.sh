#!/usr/bin/env bash
# `slug start` against foreman, honcho and plain sh, in turn: first line, stop, memory with six children, idle CPU.
# Goals: first line at most 7 ms after plain sh's; stop at most 5 ms after the last child is gone; PSS of all of slug's own
# processes at most 5 MB; idle CPU 0. A peer that is not installed has no row (foreman: Debian's ruby-foreman; honcho: PyPI).
. "$(dirname "$0")/lib.sh"
mkdir -p "$BENCH/one" "$BENCH/six"
echo 'web: echo first; exec sleep 1000' >"$BENCH/one/Procfile"
echo 'web: echo first; exec sleep 1000' >"$BENCH/six/Procfile"
python3 - "${ROUNDS:-20}" "$BENCH" "$SLUG" <<'PY'
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

rounds, bench, slug = int(sys.argv[1]), sys.argv[2], sys.argv[3]
runners = {"sh": lambda count: ["sh", "-c", "cd one; (echo first; exec sleep 1000) & wait"]}
runners["slug"] = lambda count: [slug, "start", "six" if count > 1 else "one", "-m", f"web={count}"]
for peer, flag in (("honcho", "-c"), ("foreman", "-m")):
    if shutil.which(peer):
        folder = lambda count: "six" if count > 1 else "one"
        runners[peer] = lambda count, peer=peer, flag=flag: (
            [peer, "start", flag, f"web={count}", "-f", folder(count) + "/Procfile"]
        )


def start(command, lines):
    begun = time.perf_counter()
    program = subprocess.Popen(
        command, cwd=bench, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
    )
    seen = 0
    while seen < lines:
        line = program.stdout.readline()
        assert line, f"{command} has ended"
        seen += line.rstrip().endswith(b"first")
    return program, (time.perf_counter() - begun) * 1000


def descendants(pid):
    found = [pid]
    for parent in found:
        for task in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{task}/children") as children:
                found += [int(child) for child in children.read().split()]
    return found


def own(pid):
    """The runner's own processes: without the children that it is to run."""
    names = {each: open(f"/proc/{each}/cmdline").read() for each in descendants(pid)}
    return [each for each, name in names.items() if not name.startswith("sleep\0")]


def pss(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            total += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return total / 1024


def cpu(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/schedstat") as stat:
            total += int(stat.read().split()[0])
    return total / 1e6


def stop(program):
    begun = time.perf_counter()
    program.send_signal(signal.SIGTERM)
    program.wait()
    taken = (time.perf_counter() - begun) * 1000
    program.stdout.close()
    for pid in os.listdir("/proc"):  # what plain sh leaves
        try:
            if pid.isdigit() and os.getsid(int(pid)) == program.pid:
                os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    return taken


first, stopped, memory, idle, count = ({name: [] for name in runners} for _ in range(5))
for number in range(rounds + 1):
    for name, command in runners.items():
        program, taken = start(command(1), 1)
        ended = stop(program)
        if number:  # the first round warms the caches
            first[name].append(taken)
            stopped[name].append(ended)
for number in range(3):
    for name, command in runners.items():
        if name == "sh":
            continue
        program, _ = start(command(6), 6)
        pids = own(program.pid)
        before = cpu(pids)
        time.sleep(2)
        idle[name].append((cpu(pids) - before) / 2)
        memory[name].append(pss(pids))
        count[name].append(len(pids))
        stop(program)


def column(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})" if values else "–"


load = open("/proc/loadavg").read().split()[0]
print(f"{rounds} rounds, {os.cpu_count()} processors, load {load}; median (min–max)\n")
print("|         | first line ms       | stop, SIGTERM, ms   | PSS MB, 6 children  | processes | idle CPU ms/s    |")
print("|---------|---------------------|---------------------|---------------------|-----------|------------------|")
for name in runners:
    processes = max(count[name], default="–")
    print(
        f"| {name:7} | {column(first[name]):19} | {column(stopped[name]):19} | {column(memory[name]):19} | {processes!s:9} | {column(idle[name]):16} |"
    )
PY
