"""Ways to load a server, and reading what the load generators print."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.support.http import Client, get

HERE = Path(__file__).parent
CONNECTIONS = 64
IDLE_CONNECTIONS = 1_000
H2_CLIENTS, H2_STREAMS = 10, 10
SIZES = {"/": 17, "/10k": 10 << 10, "/1m": 1 << 20}
"""What ``server.js`` answers."""
UPLOAD_BYTES = 64 << 10
GRACE_SECONDS = 30
STRANGERS = 8
PROGRAMS = {
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "node": "nodejs",
    "openssl": "openssl",
}
"""What is needed, and the Debian package that has it."""


@dataclass(frozen=True)
class Load:
    """What a load generator saw.

    :ivar errors: requests that failed or were not answered 2xx or 3xx; one at least if there
        was no request.
    :ivar p99_ms: 99 of 100 answers came within this; NaN where nobody measured.
    """

    requests: int
    per_second: float
    errors: int
    p99_ms: float

    def __post_init__(self) -> None:
        """Take no answers for what they are."""
        if not self.requests and not self.errors:
            object.__setattr__(self, "errors", 1)


@dataclass(frozen=True)
class Ports:
    """Where a side listens."""

    http: int
    https: int


Generator = Callable[[Ports, int], Load]


def _run(command: list[str], seconds: int) -> str:
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS
    )
    return done.stdout


def _wrk(url: str, seconds: int, *more: str) -> Load:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *more, url]
    return parse_wrk(_run(command, seconds))


def plain(path: str = "/", *more: str) -> Generator:
    """Return wrk on HTTP."""
    return lambda ports, seconds: _wrk(f"http://127.0.0.1:{ports.http}{path}", seconds, *more)


def tls(path: str = "/", *more: str) -> Generator:
    """Return wrk on HTTPS."""
    return lambda ports, seconds: _wrk(f"https://127.0.0.1:{ports.https}{path}", seconds, *more)


def strangers(ports: Ports, seconds: int) -> Load:
    """Load by openssl's s_time: several clients, each connection with a handshake in full."""
    options = ["-connect", f"127.0.0.1:{ports.https}", "-new", "-time", str(seconds), "-www", "/"]
    running = [
        subprocess.Popen(
            ["openssl", "s_time", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(STRANGERS)
    ]
    printed = [one.communicate(timeout=seconds + GRACE_SECONDS)[0] for one in running]
    failed = sum(1 for one in running if one.returncode)
    return parse_s_time(printed, seconds, failed)


def h2(ports: Ports, seconds: int) -> Load:
    """Load by h2load: several clients with several streams each."""
    url = f"https://127.0.0.1:{ports.https}/"
    options = [f"-c{H2_CLIENTS}", f"-m{H2_STREAMS}", "-t1", f"-D{seconds}"]
    return parse_h2load(_run(["h2load", *options, url], seconds))


def verify(ports: Ports) -> None:
    """Check that a side passes on whole what it is asked for: figures of others mean nothing.

    :raises AssertionError: it does not.
    """
    host = f"127.0.0.1:{ports.http}"
    for path, size in SIZES.items():
        answer = get(ports.http, host, path)
        assert (answer.status, len(answer.body)) == (200, size), (path, answer.status)
    with Client(ports.http, host) as client:
        answer = client.ask("/upload", method="POST", body=b"x" * UPLOAD_BYTES)
    assert answer.body == b"%d\n" % UPLOAD_BYTES, answer


def echoes(ports: Ports, seconds: int) -> Load:
    """Load by WebSockets."""
    node = shutil.which("node")
    assert node
    script = str(HERE / "echoes.js")
    printed = _run([node, script, str(ports.http), str(CONNECTIONS), str(seconds)], seconds)
    found = json.loads(printed)
    return Load(found["echoes"], found["perSecond"], found["errors"], found["p99"])


def beside_idle(ports: Ports, seconds: int) -> Load:
    """Load while a thousand further connections are open and silent."""
    request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(IDLE_CONNECTIONS):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", ports.http)))
            sock.sendall(request)
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        return plain()(ports, seconds)


def parse_wrk(text: str) -> Load:
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


def parse_s_time(texts: list[str], seconds: int, failed: int) -> Load:
    """Add up what several of openssl's clients report, which stop at their first error."""
    pattern = r"(\d+) connections in \d+ real seconds"
    requests = sum(int(_number(pattern, text)) for text in texts)
    return Load(requests, requests / seconds, failed, float("nan"))


def parse_h2load(text: str) -> Load:
    """Read h2load's report."""
    failed = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text)
    assert failed, text
    answered = int(_number(r"status codes: (\d+) 2xx", text))
    return Load(
        requests=answered,
        per_second=_number(r"finished in [\d.]+s, ([\d.]+) req/s", text),
        errors=sum(map(int, failed.groups())),
        p99_ms=float("nan"),
    )


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, f"no {pattern!r} in:\n{text}"
    return float(found[1])
