"""The guard's own tests (``tests/guard``), which run under Node's test runner."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase

from tests.support.ports import free_ports

HERE = Path(__file__).parent / "guard"

#: Nodes to test with beside the one on the PATH, separated by colons.
NODES_VARIABLE = "OOD_TEST_NODES"


def nodes() -> list[str]:
    """Return the Nodes to test with, each once."""
    more = [path for path in os.environ.get(NODES_VARIABLE, "").split(os.pathsep) if path]
    own = shutil.which("node")
    return list(dict.fromkeys(([own] if own else []) + more))


class GuardTests(TestCase):
    """Each file passes with every Node that is there."""

    #: Some tests wait for limits of seconds, and every test starts several processes.
    timeout = 600

    async def _passes(self, name: str) -> None:
        found = nodes()
        if not found:
            raise SkipTest(f"no node on the PATH, and {NODES_VARIABLE} names none")
        for node in found:
            arguments = ["--test", str(HERE / f"{name}_test.cjs")]
            ports = ",".join(map(str, free_ports(8)))
            env = {**os.environ, "OOD_TEST_PORTS": ports, "TMPDIR": tempfile.gettempdir()}
            out, err, status = await getProcessOutputAndValue(node, arguments, env=env)
            if status:
                self.fail(f"{node} {' '.join(arguments)}\n{out.decode()}\n{err.decode()}")

    def test_join(self) -> Deferred[None]:
        """Processes join, say what the protocol wants, and settle each connection."""
        return Deferred.fromCoroutine(self._passes("join"))

    def test_listen(self) -> Deferred[None]:
        """The app sees of ``listen()`` what it sees in plain Node."""
        return Deferred.fromCoroutine(self._passes("listen"))

    def test_requests(self) -> Deferred[None]:
        """Requests for other hosts go back to ood, and addresses are true."""
        return Deferred.fromCoroutine(self._passes("requests"))

    def test_drain(self) -> Deferred[None]:
        """A draining worker cuts no connection."""
        return Deferred.fromCoroutine(self._passes("drain"))

    def test_life(self) -> Deferred[None]:
        """Readiness, numbers, and the end of a process."""
        return Deferred.fromCoroutine(self._passes("life"))

    def test_traffic(self) -> Deferred[None]:
        """Requests are counted, and told one by one where there is an access log."""
        return Deferred.fromCoroutine(self._passes("traffic"))

    def test_flight(self) -> Deferred[None]:
        """What a process was doing is known after its death."""
        return Deferred.fromCoroutine(self._passes("flight"))

    def test_stress(self) -> Deferred[None]:
        """Clients of every kind outlive several workers without a failure or a close."""
        return Deferred.fromCoroutine(self._passes("stress"))
