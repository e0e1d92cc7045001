"""What ood costs when nothing happens: memory and processor time, and how fast ``ood`` answers.

python benchmarks/idle/run.py [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.ood import RunningOod  # noqa: E402 - needs the path above

IDLE_SECONDS = 10
COMMANDS = 10
MEBIBYTE = 1 << 20
SITE = ROOT / "examples" / "site"


def idle(pid: int) -> dict[str, Any]:
    """Watch the service itself (not its workers) doing nothing."""
    service = psutil.Process(pid)
    before = service.cpu_times()
    time.sleep(IDLE_SECONDS)
    after = service.cpu_times()
    used = after.user + after.system - before.user - before.system
    return {
        "memoryMiB": round(service.memory_info().rss / MEBIBYTE, 1),
        "cpuPercent": round(max(0.0, 100 * used / IDLE_SECONDS), 2),
    }


def status_seconds(ood: RunningOod) -> dict[str, Any]:
    """Time ``ood status`` from the outside, start of the interpreter included."""
    times = []
    for _ in range(COMMANDS):
        begun = time.monotonic()
        ood.ood("status")
        times.append(time.monotonic() - begun)
    return {"medianMs": round(statistics.median(times) * 1000), "maxMs": round(max(times) * 1000)}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with RunningOod() as ood:
        result = {"empty": idle(ood.pid)}
        ood.add("site", SITE, "--instances", "2")
        result["oneAppTwoWorkers"] = idle(ood.pid)
        result["oodStatus"] = status_seconds(ood)
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    for name in ("empty", "oneAppTwoWorkers"):
        one = result[name]
        print(f"{name:18} {one['memoryMiB']:>6} MiB resident  {one['cpuPercent']} % of a core")
    status = result["oodStatus"]
    print(f"{'ood status':18} {status['medianMs']:>6} ms median  {status['maxMs']} ms at most")


if __name__ == "__main__":
    main()
