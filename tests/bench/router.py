"""Drives two routers in turn with wrk; prints what a request cost each of them, and how much memory they hold."""
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = os.environ.get("SECONDS_EACH", "3")
TICKS = os.sysconf("SC_CLK_TCK")
CASES = [
    ("64 B, 64 connections", ["-c64"], "/"),
    ("64 B, 512 connections", ["-c512"], "/"),
    ("64 KiB, 64 connections", ["-c64"], "/large"),
    ("64 B, a connection a request", ["-c64", "-H", "Connection: close"], "/"),
]


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def processes(name, pid):
    """The router's own: of slug the supervisor, which keeps the access lines, and the process `slug-router`."""
    def is_router(child):
        return pathlib.Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"slug-router")
    return [pid] + [child for child in children(pid) if name == "nginx" or is_router(child)]


def cpu(pids):
    fields = (pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids)
    return sum(int(field[11]) + int(field[12]) for field in fields) / TICKS


def pss(pids):
    lines = (pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) for text in lines) / 1024


def idle(address, count):
    held = []
    for _ in range(count):
        connection = socket.create_connection(address)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
        assert b" 200 " in connection.recv(1000)
        held.append(connection)
    return held


routers = {}
for argument in sys.argv[1:]:
    name, pid, port = argument.split(":")
    routers[name] = (int(pid), ("127.0.0.1", int(port)))

fresh, busy = {}, {}
for name, (pid, address) in routers.items():
    fresh[name] = pss(processes(name, pid))
    held = idle(address, 1000)
    busy[name] = pss(processes(name, pid))
    for connection in held:
        connection.close()

print(f"| {'':28} | router | CPU s per 100,000 requests | requests/s |")
print(f"|{'-' * 30}|--------|----------------------------|------------|")
for case, options, path in CASES:
    costs, rates = {name: [] for name in routers}, {name: [] for name in routers}
    for _ in range(ROUNDS):
        for name, (pid, (host, port)) in routers.items():
            before = cpu(processes(name, pid))
            wrk = ["wrk", "-t2", f"-d{SECONDS}s", *options, f"http://{host}:{port}{path}"]
            said = subprocess.run(wrk, check=True, capture_output=True, text=True).stdout
            assert "Non-2xx" not in said, said
            requests = int(re.search(r"(\d+) requests in", said)[1])
            costs[name].append((cpu(processes(name, pid)) - before) * 100_000 / requests)
            rates[name].append(float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]))
    for name in routers:
        cost, rate = costs[name], statistics.median(rates[name])
        text = f"{statistics.median(cost):.2f} ({min(cost):.2f}–{max(cost):.2f})"
        print(f"| {case:28} | {name:6} | {text:26} | {rate:10.0f} |")
print("\nPSS in MB, fresh / with 1,000 idle connections / after the load:")
for name, (pid, _) in routers.items():
    print(f"  {name:6} {fresh[name]:.1f} / {busy[name]:.1f} / {pss(processes(name, pid)):.1f}")
