"""ood as an edge, against nginx, HAProxy, Caddy and http-proxy-3, in turns.

    python benchmarks/edge/run.py [--mode MODE]... [--side SIDE]... [--rounds 5] [--seconds 3]

``benchmarks/README.md`` says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import loads  # noqa: E402 - needs the path above
from loads import Generator, Load  # noqa: E402
from sides import (  # noqa: E402
    CaddySide,
    HaproxySide,
    HttpProxySide,
    MissingError,
    NginxSide,
    OodSide,
    RivalSide,
    cpu_seconds,
)

WARM_UP_SECONDS = 1
"""Long enough for V8 to have compiled what is hot."""
BASE = "nginx"
"""What the ratios are to."""


@dataclass(frozen=True)
class Mode:
    """A way to load.

    :ivar tls: only for sides that speak TLS.
    """

    doc: str
    load: Generator
    tls: bool = False


MODES: Mapping[str, Mode] = {
    "keep-alive": Mode("64 connections, kept alive", loads.plain()),
    "close": Mode(
        "64 clients, a connection for each request", loads.plain("/", "-H", "Connection: close")
    ),
    "10k": Mode("bodies of 10 KiB", loads.plain("/10k")),
    "1m": Mode("bodies of 1 MiB", loads.plain("/1m")),
    "upload": Mode(
        "bodies of 64 KiB up", loads.plain("/", "-s", str(loads.HERE / "config/upload.lua"))
    ),
    "websocket": Mode("64 WebSockets, echoes of 32 bytes", loads.echoes),
    "idle": Mode("64 connections beside 1,000 idle ones", loads.beside_idle),
    "tls": Mode("64 connections with TLS, kept alive", loads.tls(), tls=True),
    "handshakes": Mode(
        "64 clients, a TLS connection for each request, which resumes the client's session",
        loads.tls("/", "-H", "Connection: close"),
        tls=True,
    ),
    "strangers": Mode(
        "8 clients, a TLS connection for each request, with a handshake in full",
        loads.strangers,
        tls=True,
    ),
    "h2": Mode("HTTP/2, 10 clients with 10 streams each", loads.h2, tls=True),
}
Side = OodSide | RivalSide
SIDES: Mapping[str, Callable[[], Side]] = {
    "ood": OodSide,
    "ood-proxied": lambda: OodSide("ood-proxied", proxied=True),
    "nginx": NginxSide,
    "haproxy": HaproxySide,
    "caddy": CaddySide,
    "http-proxy-3": HttpProxySide,
}
WITH_TLS = {"ood", "ood-proxied", "nginx", "caddy"}


@dataclass
class Series:
    """What one side did in one mode, run by run."""

    loads: list[Load] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    proxy_cpu: list[float] = field(default_factory=list)

    def each(self, seconds: list[float]) -> list[float]:
        """Return microseconds for a request, run by run."""
        pairs = zip(seconds, self.loads, strict=True)
        return [spent / max(one.requests, 1) * 1e6 for spent, one in pairs]

    def summary(self) -> dict[str, Any]:
        """Return medians and extremes."""
        rates = [one.per_second for one in self.loads]
        return {
            "requestsPerSecond": round(statistics.median(rates)),
            "lowest": round(min(rates)),
            "highest": round(max(rates)),
            "cpuMicroseconds": round(statistics.median(self.each(self.cpu)), 1),
            "proxyCpuMicroseconds": round(statistics.median(self.each(self.proxy_cpu)), 1),
            "p99Ms": round(statistics.median(one.p99_ms for one in self.loads), 2),
            "errors": sum(one.errors for one in self.loads),
        }


def measure(side: Side, mode: Mode, seconds: int, series: Series) -> None:
    """Load ``side`` once and note what came of it."""
    everybody, proxies = side.processes(), side.proxies()
    before = cpu_seconds(everybody), cpu_seconds(proxies)
    series.loads.append(mode.load(side.ports, seconds))
    series.cpu.append(cpu_seconds(everybody) - before[0])
    series.proxy_cpu.append(cpu_seconds(proxies) - before[1])


def compare(sides: list[Side], mode: Mode, rounds: int, seconds: int) -> dict[str, Any]:
    """Load the sides in turns; return their summaries, with ratios to :data:`BASE`."""
    series = {side.name: Series() for side in sides}
    for side in sides:
        mode.load(side.ports, WARM_UP_SECONDS)
    for _ in range(rounds):
        for side in sides:
            measure(side, mode, seconds, series[side.name])
    result = {name: one.summary() for name, one in series.items()}
    base = series.get(BASE)
    if base is not None:
        for name, one in series.items():
            result[name].update(ratios(one, base))
    return result


def ratios(one: Series, base: Series) -> dict[str, float]:
    """Return ratios of neighbours in time, so that a machine that slows down hits both."""
    rates = ([load.per_second for load in series.loads] for series in (one, base))
    return {
        "ratio": _ratio(*rates),
        "cpuRatio": _ratio(base.each(base.cpu), one.each(one.cpu)),
        "proxyCpuRatio": _ratio(base.each(base.proxy_cpu), one.each(one.proxy_cpu)),
    }


def _ratio(upper: list[float], lower: list[float]) -> float:
    """Return the median of the quotients; NaN where there was nothing to divide by."""
    pairs = zip(upper, lower, strict=True)
    found = [a / b for a, b in pairs if b > 0]
    return round(statistics.median(found), 2) if found else math.nan


def show(name: str, result: dict[str, Any]) -> None:
    """Print one mode's result for people."""
    print(f"\n{name}: {MODES[name].doc}")
    for side, one in result.items():
        print(
            f"  {side:13} {one['requestsPerSecond']:>8,}/s ({one['lowest']:,} - {one['highest']:,})"
            f"  {one['cpuMicroseconds']:>7} µs CPU, {one['proxyCpuMicroseconds']:>7} of the proxy"
            f"  p99 {one['p99Ms']} ms  {one['errors']} errors"
            + (
                f"  x{one['ratio']:.2f}  by CPU x{one['cpuRatio']:.2f},"
                f" the proxy's x{one['proxyCpuRatio']:.2f}"
                if "ratio" in one and side != BASE
                else ""
            ),
            flush=True,
        )


def started(names: list[str]) -> list[Side]:
    """Start the sides that can be run here."""
    sides: list[Side] = []
    for name in names:
        side = SIDES[name]()
        try:
            side.start()
            loads.verify(side.ports)
        except MissingError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            side.stop()
        except BaseException:
            for one in (side, *sides):
                one.stop()
            raise
        else:
            sides.append(side)
    return sides


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--mode", choices=list(MODES), action="append")
    parser.add_argument("--side", choices=list(SIDES), action="append")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    missing = [package for name, package in loads.PROGRAMS.items() if shutil.which(name) is None]
    if missing:
        sys.exit(f"these are needed: sudo apt-get install {' '.join(missing)}")
    results = {}
    sides = started(arguments.side or list(SIDES))
    try:
        for name in arguments.mode or MODES:
            mode = MODES[name]
            able = [side for side in sides if not mode.tls or side.name in WITH_TLS]
            results[name] = compare(able, mode, arguments.rounds, arguments.seconds)
            if not arguments.json:
                show(name, results[name])
    finally:
        for side in sides:
            side.stop()
    if arguments.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
