from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ood.errors import StartupError
from ood.net.listen import bind, bind_public
from tests.support.ipv6 import has_ipv6


class BindTests(SynchronousTestCase):
    def test_listens(self) -> None:
        """A bound socket takes connections before anything else is started."""
        with bind("127.0.0.1", 0, what="test") as sock, socket.socket() as client:
            client.connect(sock.getsockname())
            self.assertFalse(sock.getblocking())

    def test_both_families(self) -> None:
        """A public port is open for IPv4 and, where there is any, for IPv6."""
        sockets = bind_public(0, what="test")
        self.addCleanup(lambda: [sock.close() for sock in sockets])
        port = sockets[0].getsockname()[1]
        for sock in sockets:
            self.assertEqual(port, sock.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)):
            pass
        if has_ipv6():
            self.assertEqual(len(sockets), 2)
            with socket.create_connection(("::1", port)):
                pass

    def test_occupied(self) -> None:
        """The error says which port, who has it, and what to do."""
        with bind("127.0.0.1", 0, what="test") as taken:
            port = taken.getsockname()[1]
            error = self.assertRaises(StartupError, bind, "127.0.0.1", port, what="HTTP (httpPort)")
        self.assertIn(f"HTTP (httpPort): 127.0.0.1:{port} is in use by ", str(error))
        self.assertIn(f"(pid {os.getpid()})", str(error))
        self.assertIn("choose another port", str(error))

    def test_occupied_on_ipv6_only(self) -> None:
        """A port that is half taken is refused, and nothing of it stays open."""
        if not has_ipv6():
            raise SkipTest("no IPv6 here")
        with bind("::", 0, what="test") as taken:
            port = taken.getsockname()[1]
            self.assertRaises(StartupError, bind_public, port, what="HTTP")
            bind("0.0.0.0", port, what="test").close()

    def test_no_such_address(self) -> None:
        error = self.assertRaises(StartupError, bind, "203.0.113.1", 0, what="HTTP")
        self.assertIn("can't listen on 203.0.113.1:0", str(error))

    def test_privileged(self) -> None:
        """An ordinary user is told what to do about a low port."""
        if os.geteuid() == 0:
            raise SkipTest("root may")
        error = self.assertRaises(StartupError, bind, "127.0.0.1", 81, what="HTTP")
        self.assertIn("may not listen on 127.0.0.1:81", str(error))
