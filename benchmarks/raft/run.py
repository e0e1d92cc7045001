"""Committed writes beside etcd and PySyncObj, in turns on the same machine.

::

    apt-get install etcd-server nghttp2-client; pip install pysyncobj
    PYTHONPATH=. python benchmarks/raft/run.py --rounds 3 --seconds 3

ood.raft and etcd sync to disk before they answer; PySyncObj can't.  Each round
starts every system anew, one after the other, so that a noisy neighbour meets
all of them; medians count.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path

from systems import Etcd, Ood, PySyncObj, System, median, summary

KINDS: dict[str, type[System]] = {kind.name: kind for kind in (Ood, Etcd, PySyncObj)}
NEEDS = {"etcd": ("etcd", "h2load")}


def measure(kind: type[System], outstanding: list[int], seconds: float, where: str) -> dict:  # type: ignore[type-arg]
    system = kind(Path(tempfile.mkdtemp(dir=where)))
    try:
        system.start()
        system.load(16, 0.5)  # warm
        loads = {count: summary(system.load(count, seconds), seconds) for count in outstanding}
        return {"loads": loads, "failover": failover(system)}
    finally:
        system.stop()


def is_here(name: str) -> bool:
    """Tell whether a system can be measured; say what is missing if it can't."""
    missing = [tool for tool in NEEDS.get(name, ()) if not shutil.which(tool)]
    if name == "PySyncObj" and importlib.util.find_spec("pysyncobj") is None:
        missing.append("pysyncobj (pip install pysyncobj)")
    if missing:
        print(f"{name} is left out, for want of {', '.join(missing)}", flush=True)
    return not missing


def failover(system: System) -> float:
    try:
        return system.failover()
    except RuntimeError as error:
        print(error, flush=True)
        return float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--systems", nargs="*", default=list(KINDS))
    parser.add_argument("--outstanding", nargs="*", type=int, default=[1, 16, 256])
    parser.add_argument("--directory", default=str(Path.home()), help="on the disk to measure")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    names = [name for name in options.systems if is_here(name)]
    results: dict[str, list] = {name: [] for name in names}  # type: ignore[type-arg]
    for round_ in range(options.rounds):
        for name in names:
            found = measure(KINDS[name], options.outstanding, options.seconds, options.directory)
            results[name].append(found)
            rates = ", ".join(f"{n}: {s['rate']:.0f}/s" for n, s in found["loads"].items())
            print(f"round {round_ + 1} {name}: {rates}", flush=True)
    report(results, options.outstanding)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1))


def report(results: dict[str, list], outstanding: list[int]) -> None:  # type: ignore[type-arg]
    load = os.getloadavg()[0]
    print(f"\nmedians; {os.cpu_count()} processors, load average {load:.1f} at the end")
    print("system     outstanding   writes/s    p50 ms    p99 ms")
    for name, rounds in results.items():
        for count in outstanding:
            figures = median([found["loads"][count] for found in rounds])
            print(
                f"{name:10} {count:11} {figures['rate']:10.0f}"
                f" {figures['p50']:9.2f} {figures['p99']:9.2f}"
            )
    for name, rounds in results.items():
        took = [found["failover"] for found in rounds]
        print(f"{name:10} failover {statistics.median(took):.2f} s (worst {max(took):.2f} s)")


if __name__ == "__main__":
    main()
