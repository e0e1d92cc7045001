"""Caps and slow bodies against the whole service, whose limits are lowered to be reached soon."""

from __future__ import annotations

import select
import socket
import sys
import threading
from collections.abc import Mapping

from tests.integration.test_attacks import AttacksTestCase
from tests.support.ood import RunningOod, wait_until

HEAD = b"POST / HTTP/1.1\r\nHost: proxied.localhost\r\nContent-Length: %d\r\n\r\n"
CAP = 300
OF_EACH_CLIENT = 200
LONG_SECONDS = 60
START = """
import sys
from importlib import import_module
from twisted.scripts.twistd import run
for word in sys.argv.pop(1).split():
    name, value = word.split('=')
    module, _, name = name.rpartition('.')
    assert hasattr(import_module(module), name), word
    setattr(import_module(module), name, int(value))
run()
"""


class LimitedOod(RunningOod):
    """The service with other limits than its own.

    :param limits: values by module and name.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        super().__init__()
        self._limits = " ".join(f"{name}={value}" for name, value in limits.items())

    def command(self) -> list[str]:
        """Return the command line of the service."""
        _, _, *options = super().command()
        return [sys.executable, "-c", START, self._limits, *options]


class CapTests(AttacksTestCase):
    def make_service(self) -> RunningOod:
        return LimitedOod(
            {"ood.proxy.limits.HALF_OPEN_MAX": CAP, "ood.proxy.limits.HEAD_DEADLINE_SECONDS": 3600}
        )

    def test_everybody_together(self) -> None:
        """Beyond so many without a request the oldest ones go, and only they; others are served."""
        socks = [
            self.connect(b"GET / HTTP/1.1\r\n", f"127.0.2.{1 + number // OF_EACH_CLIENT}")
            for number in range(2 * OF_EACH_CLIENT)
        ]
        over = 2 * OF_EACH_CLIENT - CAP
        gone: set[socket.socket] = set()

        def enough() -> bool:
            gone.update(select.select([one for one in socks if one not in gone], [], [], 0)[0])
            return len(gone) >= over

        wait_until(enough, "the oldest ones are gone", LONG_SECONDS)
        for _ in range(5):
            self.served()
        enough()
        self.assertEqual(gone, set(socks[: len(gone)]))
        self.assertLess(len(gone), over + 50)
        for sock in socks[-10:]:
            sock.settimeout(LONG_SECONDS)
            sock.sendall(b"Host: proxied.localhost\r\n\r\n")
            self.assertTrue(sock.recv(4096).startswith(b"HTTP/1.1 200 "))


class BodyTests(AttacksTestCase):
    def make_service(self) -> RunningOod:
        return LimitedOod(
            {"ood.proxy.limits.BODY_IDLE_SECONDS": 4, "ood.proxy.core.pace.WINDOW_SECONDS": 4}
        )

    def answer(self, sock: socket.socket, drip: bytes) -> bytes:
        """Return the answer to a body of which ``drip`` is sent now and then."""
        pause = threading.Event()
        for _ in range(LONG_SECONDS * 5):
            if select.select([sock], [], [], 0)[0]:
                return sock.recv(65536)
            if drip:
                sock.sendall(drip)
            self.served()
            pause.wait(0.2)
        raise AssertionError("no answer")

    def test_bodies(self) -> None:
        """A body that stops, or drips, ends with 408; one that comes is answered."""
        for drip in (b"", b"x"):
            sock = self.connect(HEAD % 1_000_000 + b"begun")
            self.assertEqual(b"HTTP/1.1 408 ", self.answer(sock, drip)[:13])
        self.assertEqual(b"HTTP/1.1 200 ", self.answer(self.connect(HEAD % 9 + b"x" * 9), b"")[:13])
