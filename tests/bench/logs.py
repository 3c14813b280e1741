"""Runs each logger in turn (a b c, a b c, …) and prints what its processes cost, the emitter's among them.

A row is a command, the files that it leaves, and whether it ends by itself; one that does not is ended when each writer
has said `done`.
"""

import glob
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time

BENCH, SLUG = os.environ["BENCH"], os.environ["SLUG"]
LINES = int(os.environ.get("LINES", "1000000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
EMIT = f"{BENCH}/lines"


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Case:
    """How many writers say how many lines each, and in which writes."""

    def __init__(self, name, writers, mode):
        self.name, self.writers, self.mode = name, writers, mode
        self.count = LINES // writers

    def emit(self, writer, count=None):
        return f"emit {writer} {count or self.count} {self.mode}"

    def ids(self):
        return [str(writer) for writer in range(self.writers)]


def fresh(name):
    folder = f"{BENCH}/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    return folder


def plain_sh(case):
    folder = fresh("sh")
    parts = [f"{EMIT} {case.emit(writer)} >>{folder}/out" for writer in range(case.writers)]
    return " & ".join(parts) + " & wait", [f"{folder}/out"]


def s6_log(case):
    folder, parts = fresh("s6"), []
    for writer in range(case.writers):
        parts.append(f"{EMIT} {case.emit(writer)} | s6-log n30 s100000000 t {folder}/{writer}")
    return " & ".join(parts) + " & wait", [f"{folder}/*/@*", f"{folder}/*/current"]


def procfile(folder, case, program, count=None):
    with open(f"{folder}/Procfile", "w") as file:
        for writer in range(case.writers):
            line = f"{program} {case.emit(writer, count)}; echo done; exec sleep 1000"
            file.write(f"w{writer}: {line}\n")


def slug_up(case):
    app = fresh("app")
    procfile(app, case, "./lines")
    shutil.copy(EMIT, f"{app}/lines")
    with open(f"{app}/slug.toml", "w") as file:
        for writer in range(case.writers):
            file.write(f"[process.w{writer}]\ninstances = 1\n")
    shutil.rmtree(os.environ["SLUG_STORE"], ignore_errors=True)
    slug = subprocess.run([SLUG, "build", "-q", app], check=True, capture_output=True, text=True)
    subprocess.run([SLUG, "release", "-q", slug.stdout.strip()], check=True, capture_output=True)
    out = f"{fresh('up')}/out"
    command = f"exec {SLUG} up --listen 127.0.0.2:0 --log-keep-size 1GiB >{out} 2>&1"
    kept = f"{os.environ['SLUG_STORE']}/**/logs/bench/*.log"
    return command, [out], [kept]


def slug_start(case):
    app = fresh("start")
    procfile(app, case, EMIT)
    return f"cd {app}; exec {SLUG} start >{app}/out 2>&1", [f"{app}/out"]


def honcho(case):
    app = fresh("honcho")
    procfile(app, case, EMIT)
    return f"cd {app}; exec {BENCH}/venv/bin/honcho start >{app}/out 2>&1", [f"{app}/out"]


def wait_until_done(process, out, writers):
    """Reads what it says until each writer has said `done`."""
    deadline, done, rest = time.monotonic() + 600, 0, b""
    with open(out, "ab+") as file:
        file.seek(0)
        while done < writers:
            if process.poll() is not None:
                sys.exit(f"it ended by itself: {open(out, errors='replace').read()[-2000:]}")
            if time.monotonic() > deadline:
                process.kill()
                sys.exit(f"not done after ten minutes: {out}")
            text = rest + file.read()
            done += text.count(b"| done\n")
            rest = text[text.rfind(b"\n") + 1 :]
            time.sleep(0.05)


def files(patterns):
    found = [path for pattern in patterns for path in glob.glob(pattern, recursive=True)]
    closed = sorted(path for path in found if not path.endswith("current.log"))
    return closed + [path for path in found if path.endswith("current.log")]


def checked(case, patterns):
    """The lines of all files, in the order in which they were written."""
    arguments = [EMIT, "check", str(case.count), *case.ids()]
    check = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for path in files(patterns):
        with open(path, "rb") as file:
            shutil.copyfileobj(file, check.stdin, 1 << 20)
    check.stdin.close()
    said = check.stdout.read().decode().strip()
    check.wait()
    return said


def run(logger, case):
    command, *written = logger(case)
    before, began = children_cpu(), time.monotonic()
    process = subprocess.Popen(["bash", "-c", command], stdin=subprocess.DEVNULL)
    if logger in (plain_sh, s6_log):
        process.wait()
    else:
        wait_until_done(process, written[0][0], case.writers)
    wall = time.monotonic() - began
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait()
    cpu = children_cpu() - before
    return cpu, wall, "; ".join(sorted({checked(case, patterns) for patterns in written}))


def main():
    loggers = [("sh, no prefix", plain_sh), ("s6-log, time, no prefix", s6_log), ("slug up, history too", slug_up)]
    if subprocess.run([SLUG, "start", "--help"], capture_output=True).returncode == 0:
        loggers.append(("slug start", slug_start))
    if os.path.exists(f"{BENCH}/venv/bin/honcho"):
        loggers.append(("honcho", honcho))
    cases = [Case("1 writer, a write a line", 1, "l"), Case("4 writers, a write a line", 4, "l")]
    cases.append(Case("1 writer, 64 KiB a write", 1, "b"))
    load = open("/proc/loadavg").read().split()[0]
    print(f"{LINES} lines of 80 bytes, {ROUNDS} rounds, {os.cpu_count()} processors, load {load}")
    print("CPU seconds of all processes, median (min–max); each line is checked\n")
    for case in cases:
        taken = {name: [] for name, _ in loggers}
        for _ in range(ROUNDS):
            for name, logger in loggers:
                taken[name].append(run(logger, case))
        print(f"| {case.name:24} | {'CPU s':18} | {'wall s':7} | lines |")
        print(f"|{'-' * 26}|{'-' * 20}|{'-' * 9}|{'-' * 7}|")
        for name, runs in taken.items():
            cpu, wall = [it[0] for it in runs], statistics.median(it[1] for it in runs)
            column = f"{statistics.median(cpu):.2f} ({min(cpu):.2f}–{max(cpu):.2f})"
            said = "; ".join(sorted({it[2] for it in runs}))
            print(f"| {name:24} | {column:18} | {wall:7.2f} | {said} |", flush=True)
        print()


main()
