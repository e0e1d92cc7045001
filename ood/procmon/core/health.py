"""What is asked of a new worker, and which answers are good: pure functions."""

from __future__ import annotations

import re

HEAD_BYTES_MAX = 4096
"""A status line is in the first bytes; who sends more before it speaks no HTTP."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r\n]")


def request(path: str, host: str) -> bytes:
    """Return the request that asks whether a worker is healthy."""
    fields = f"Host: {host}\r\nUser-Agent: ood\r\nAccept: */*\r\nConnection: close"
    return f"GET {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode("ascii")


def status(answer: bytes) -> int | None:
    """Return the status of an answer, None where it has none yet, 0 where it is no HTTP."""
    line, newline, _ = answer.partition(b"\n")
    if not newline:
        return 0 if len(answer) > HEAD_BYTES_MAX else None
    found = _STATUS.match(line + b"\n")
    return int(found[1]) if found else 0


def is_healthy(number: int) -> bool:
    """Tell whether a status means that the app works: an answer, or a redirection."""
    return 200 <= number < 400


def problem(number: int) -> str:
    """Return what is wrong with an answer, in words."""
    return f"answered {number}" if number else "was not answered in HTTP"
