"""Running wrk and reading what it prints."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

CONNECTIONS = 64


@dataclass(frozen=True)
class Load:
    """What wrk saw.

    :ivar errors: requests that failed or were not answered 2xx or 3xx.
    :ivar p99_ms: 99 of 100 answers came within this.
    """

    requests: int
    per_second: float
    errors: int
    p99_ms: float


def load(port: int, seconds: int, *, close: bool) -> Load:
    """Load 127.0.0.1:``port`` for ``seconds``; ``close``: a connection for each request."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    if close:
        command += ["-H", "Connection: close"]
    command.append(f"http://127.0.0.1:{port}/")
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 30)
    return parse(done.stdout)


def parse(text: str) -> Load:
    """Read wrk's report."""
    failed = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", text)
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    errors = sum(map(int, failed.groups())) if failed else 0
    return Load(
        requests=int(_number(r"(\d+) requests in", text)),
        per_second=_number(r"Requests/sec:\s+([\d.]+)", text),
        errors=errors + (int(refused[1]) if refused else 0),
        p99_ms=float(p99[1]) * units[p99[2]] if p99 else float("nan"),
    )


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, f"wrk printed no {pattern!r}:\n{text}"
    return float(found[1])
