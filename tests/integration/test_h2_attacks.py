"""HTTP/2 clients that mean harm, over TLS against the whole service: it serves everybody else."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support import h2frames
from tests.support.apps import nodes
from tests.support.load import SERVER, Load
from tests.support.ood import RunningOod, wait_until

HOST = "site.localhost"
APP = SERVER.replace(
    "let bytes = 0;",
    """let bytes = 0;
  if (request.url === '/hang') return;
  if (request.url === '/big') {
    const block = Buffer.alloc(65536, 'x');
    const more = () => { while (response.write(block)); };
    response.on('drain', more);
    return more();
  }""",
)
GROWTH_BYTES_MAX = 64 << 20
"""What an attack may cost: 100 answers that wait are 13 MB by themselves, and there are two."""
PIECE_BYTES = 65_536
SECONDS = 60
STREAMS = 100
ANSWERS = 60
"""The bystanders get so many during an attack."""


def unverified(*protocols: str) -> ssl.SSLContext:
    """Return how a client speaks TLS that does not look at certificates."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    return context


class Http2AttacksTests(SynchronousTestCase):
    """One app; bystanders by HTTP/1.1 and HTTP/2 from before the first attack to after the last."""

    def setUp(self) -> None:
        if not nodes():
            self.skipTest("there is no node")
        self.service = RunningOod()
        self.service.start()
        self.addCleanup(self.service.close)
        site = Path(self.service.directory / "site")
        site.mkdir()
        (site / "server.js").write_text(APP)
        self.service.add("site", site)
        contexts = unverified("http/1.1"), unverified("h2")
        self.bystanders = Load(self.service.https_port, 2, 1, contexts[0], HOST, 1, contexts[1])
        self.bystanders.start()
        self.addCleanup(self.check)

    def check(self) -> None:
        """Nobody else noticed anything, and nothing was unexpected."""
        self.bystanders.stop()
        self.assertEqual((self.bystanders.failures[:5], self.bystanders.closes), ([], 0))
        self.assertNotIn("Traceback", self.service.log())

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.service.https_port), timeout=SECONDS)
        wire = unverified("h2").wrap_socket(plain, server_hostname=HOST)
        self.addCleanup(wire.close)
        self.assertEqual(wire.selected_alpn_protocol(), "h2")
        return wire

    @contextlib.contextmanager
    def bounded(self, what: str) -> Iterator[None]:
        """Look that the bystanders are answered meanwhile, and that memory stays bounded."""
        (Path(f"/proc/{self.service.pid}") / "clear_refs").write_text("5")
        before, answered = self.peak(), self.bystanders.requests
        yield
        wait_until(
            lambda: self.bystanders.failures or self.bystanders.requests > answered + ANSWERS,
            f"others are served during {what}",
            SECONDS,
        )
        self.assertLess(self.peak() - before, GROWTH_BYTES_MAX, what)

    def peak(self) -> int:
        """Return the most memory that the service has used, in bytes."""
        status = Path(f"/proc/{self.service.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) << 10

    def cut_off(self, flood: Callable[[str], Iterator[bytes]], *, reads: bool) -> bool:
        """Send a flood; return whether its connection was ended."""
        wire = self.connect()
        waiting = bytearray(h2frames.preface())
        try:
            for one in flood(HOST):
                waiting += one
                if len(waiting) >= PIECE_BYTES:
                    wire.settimeout(SECONDS)
                    wire.sendall(waiting)
                    waiting.clear()
                    if reads and has_ended(wire):
                        return True
            wire.settimeout(SECONDS)
            while wire.recv(PIECE_BYTES):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def test_floods(self) -> None:
        """Each ends its connection, whether the client reads or not, and nobody else's."""
        for flood in h2frames.FLOODS:
            with self.bounded(flood.__name__):
                for reads in (True, False):
                    self.assertTrue(self.cut_off(flood, reads=reads), (flood.__name__, reads))

    def test_stalled(self) -> None:
        """A client whose windows are shut, and one that never reads, have a bounded sum kept."""
        with self.bounded("stalled clients"):
            for window in (0, None):
                wire = self.connect()
                asked = [
                    h2frames.asked(HOST, stream, "/big") for stream in h2frames.streams()[:STREAMS]
                ]
                wire.sendall(h2frames.preface(window) + b"".join(asked))


def has_ended(wire: ssl.SSLSocket) -> bool:
    """Read what there is; return whether it was the last."""
    wire.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):
        while wire.recv(PIECE_BYTES):
            pass
        return True
    return False
