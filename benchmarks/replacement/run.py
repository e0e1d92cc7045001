"""ood against PM2: how soon a killed worker is replaced, and what a reload costs clients.

    python benchmarks/replacement/run.py [--rounds 10] [--pm2 PROGRAM] [--json]

``benchmarks/README.md`` says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sides import OodSide, Pm2Side, Side, pm2_program, pm2_version  # noqa: E402 - needs the path above

from tests.support.load import SERVER, Load  # noqa: E402
from tests.support.ood import wait_until  # noqa: E402

WHO = """
const http = require('http');
http.createServer((q, r) => r.end(String(process.pid))).listen(process.env.PORT);
"""
"""An app that says which process answers."""
OLD_ENOUGH_SECONDS = 2.5
"""Longer than ood's minUptime and PM2's min_uptime: a worker that ran well dies."""
GIVE_UP_SECONDS = 30
ANSWER_SECONDS = 1
"""How long a client waits until it tries again: PM2 may leave it without an answer for ever."""
PAUSE_SECONDS = 0.001
KEEP_ALIVE, SHORT, RELOADS = 48, 8, 3


def answering(port: int) -> int | None:
    """Return the process that answers a request on a new connection; None if none does.

    By hand, not by a library: the client shares the processors with those it measures.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = b""
            while not (body := answer.partition(b"\r\n\r\n")[2]):
                if not (data := sock.recv(4096)):
                    return None
                answer += data
            return int(body) if b" 200 " in answer else None
    except (OSError, ValueError):
        return None


def replaced_seconds(side: Side) -> float:
    """Kill a worker; return how long it took until a process that is new answered."""
    side.settle()
    time.sleep(OLD_ENOUGH_SECONDS)
    before = side.pids()
    seen = set(before)
    begun = time.monotonic()
    os.kill(before[0], signal.SIGKILL)
    while time.monotonic() - begun < GIVE_UP_SECONDS:
        if (pid := answering(side.port)) is not None and pid not in seen:
            return time.monotonic() - begun
        time.sleep(PAUSE_SECONDS)
    return float(GIVE_UP_SECONDS)


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median and extremes in milliseconds."""
    named = {"median": statistics.median(seconds), "lowest": min(seconds), "highest": max(seconds)}
    return {f"{name}Ms": round(one * 1000, 1) for name, one in named.items()}


def replacement(workers: int, program: str, rounds: int) -> dict[str, Any]:
    """Kill one of ``workers`` on each side in turns."""
    sides: list[Side] = [
        OodSide(WHO, workers),
        OodSide(WHO, workers, spare=True),
        Pm2Side(WHO, workers, program),
    ]
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    with ExitStack() as stack:
        for side in sides:
            stack.callback(side.stop)
            side.start()
        for side in sides * rounds:
            times[side.name].append(replaced_seconds(side))
    return {name: summary(one) for name, one in times.items()}


def reload(side: Side) -> dict[str, int]:
    """Replace all workers some times under load; return what clients noticed."""
    load = Load(side.port, KEEP_ALIVE, SHORT)
    load.start()
    try:
        wait_until(lambda: load.requests > KEEP_ALIVE, "the load runs", 30)
        for _ in range(RELOADS):
            side.reload()
    finally:
        load.stop()
    return {"requests": load.requests, "failed": len(load.failures), "closed": load.closes}


def reloads(program: str) -> dict[str, Any]:
    """Reload each side, one after the other."""
    results = {}
    for side in (OodSide(SERVER, 2), Pm2Side(SERVER, 2, program)):
        with ExitStack() as stack:
            stack.callback(side.stop)
            side.start()
            results[side.name] = reload(side)
    return results


def show(results: dict[str, Any]) -> None:
    """Print the results for people."""
    for workers in ("1", "2"):
        print(f"\nSIGKILL of one of {workers}: until a new process answers")
        for name, one in results["replacement"][workers].items():
            print(f"  {name:17} {one['medianMs']:>8} ms  ({one['lowestMs']} - {one['highestMs']})")
    print(f"\n{RELOADS} reloads of 2 workers, {KEEP_ALIVE} kept connections, {SHORT} short ones")
    for name, one in results["reload"].items():
        print(f"  {name:17} {one['failed']:>4} failed  {one['closed']:>4} closed", end="")
        print(f"  of {one['requests']} requests")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pm2", metavar="PROGRAM", help="pm2; installed by npm if not given")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pm2-") as directory:
        program = pm2_program(arguments.pm2, Path(directory))
        results = {
            "pm2": pm2_version(program),
            "replacement": {
                str(workers): replacement(workers, program, arguments.rounds) for workers in (1, 2)
            },
            "reload": reloads(program),
        }
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        print(f"PM2 {results['pm2']}")
        show(results)


if __name__ == "__main__":
    main()
