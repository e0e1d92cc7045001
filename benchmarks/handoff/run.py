"""ood against nginx in front of two node processes, by wrk, in turns.

    python benchmarks/handoff/run.py [--rounds 5] [--seconds 4] [--json]

``benchmarks/README.md`` says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sides import NginxSide, OodSide, cpu_seconds  # noqa: E402 - needs the path above
from wrk import CONNECTIONS, Load, load  # noqa: E402

WARM_UP_SECONDS = 2
"""Long enough for V8 to have compiled what is hot."""
MODES = {
    "keep-alive": f"{CONNECTIONS} connections, kept alive",
    "close": f"{CONNECTIONS} clients, a connection for each request",
}

Side = OodSide | NginxSide


@dataclass
class Series:
    """What one side did in one mode, run by run."""

    loads: list[Load] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return medians and extremes."""
        rates = [one.per_second for one in self.loads]
        each = [
            seconds / one.requests * 1e6 for seconds, one in zip(self.cpu, self.loads, strict=True)
        ]
        return {
            "requestsPerSecond": round(statistics.median(rates)),
            "lowest": round(min(rates)),
            "highest": round(max(rates)),
            "cpuMicrosecondsPerRequest": round(statistics.median(each), 1),
            "p99Ms": round(statistics.median(one.p99_ms for one in self.loads), 2),
            "errors": sum(one.errors for one in self.loads),
        }


def measured(side: Side, seconds: int, *, close: bool, series: Series) -> None:
    """Load ``side`` once and append what came of it."""
    processes = side.processes()
    before = cpu_seconds(processes)
    series.loads.append(load(side.port, seconds, close=close))
    series.cpu.append(cpu_seconds(processes) - before)


def compare(sides: tuple[Side, Side], mode: str, rounds: int, seconds: int) -> dict[str, Any]:
    """Load the sides in turns; return their summaries and the ratio of the first to the second."""
    close = mode == "close"
    series = {side.name: Series() for side in sides}
    for side in sides:
        load(side.port, WARM_UP_SECONDS, close=close)
    for _ in range(rounds):
        for side in sides:
            measured(side, seconds, close=close, series=series[side.name])
    pairs = zip(*(one.loads for one in series.values()), strict=True)
    return {
        **{name: one.summary() for name, one in series.items()},
        # Of neighbours in time, so that a machine that slows down hits both.
        "ratio": round(statistics.median(a.per_second / b.per_second for a, b in pairs), 2),
    }


def show(mode: str, result: dict[str, Any]) -> None:
    """Print one mode's result for people."""
    print(f"\n{MODES[mode]}")
    for name in (OodSide.name, NginxSide.name):
        one = result[name]
        print(
            f"  {name:6} {one['requestsPerSecond']:>8,} requests/s"
            f"  ({one['lowest']:,} - {one['highest']:,})"
            f"  {one['cpuMicrosecondsPerRequest']:>6} µs CPU each"
            f"  p99 {one['p99Ms']} ms  {one['errors']} errors"
        )
    print(f"  ratio  {result['ratio']:.2f}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--mode", choices=list(MODES), action="append")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed; run: sudo apt-get install wrk nginx")
    sides = (OodSide(), NginxSide())
    results = {}
    try:
        for side in sides:
            side.start()
        for mode in arguments.mode or MODES:
            results[mode] = compare(sides, mode, arguments.rounds, arguments.seconds)
            if not arguments.json:
                show(mode, results[mode])
    finally:
        for side in sides:
            side.stop()
    if arguments.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
