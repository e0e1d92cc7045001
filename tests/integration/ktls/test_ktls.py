from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support.apps import nodes
from tests.uml import runner

MODULES = (
    *("tls", "gcm", "ctr", "ghash_generic", "seqiv"),
    *("chacha20poly1305", "chacha_generic", "poly1305_generic"),
)
SECONDS = 300


class KernelTlsTests(SynchronousTestCase):
    """On a kernel that does TLS."""

    timeout = SECONDS

    def setUp(self) -> None:
        why = runner.obstacle()
        if why is not None:
            self.skipTest(why)

    def guest(self, *command: str) -> str:
        result = runner.run([sys.executable, "-m", *command], seconds=SECONDS, modules=MODULES)
        self.assertEqual(0, result.status, result.output[-6000:] + result.errors[-3000:])
        return result.output

    def test_ciphers(self) -> None:
        """Every cipher of both versions, and what happens at the edges."""
        output = self.guest("twisted.trial", "tests.proxy.tls.test_kernel")
        self.assertNotIn("SKIPPED", output)

    def test_service(self) -> None:
        """Node gets the sockets of HTTPS connections, knows it, and they survive restarts."""
        if not nodes():
            self.skipTest("there is no node")
        self.assertIn("done", self.guest("tests.integration.ktls.guest"))
