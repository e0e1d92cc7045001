"""What a CA may answer."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone

from ood.certs.errors import AcmeError
from ood.certs.http import REPLY_BYTES_MAX, _Body


class BodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.body = _Body()
        self.transport = StringTransport()
        self.body.makeConnection(self.transport)

    def test_whole(self) -> None:
        """A body is taken to its end."""
        self.body.dataReceived(b"x" * (REPLY_BYTES_MAX - 1))
        self.body.dataReceived(b"y")
        self.body.connectionLost(Failure(ResponseDone()))
        self.assertEqual(len(self.successResultOf(self.body.done)), REPLY_BYTES_MAX)

    def test_endless(self) -> None:
        """One without an end is given up together with its connection, and takes no memory."""
        for _ in range(3):
            self.body.dataReceived(b"x" * REPLY_BYTES_MAX)
        self.assertIn("far too long", self.failureResultOf(self.body.done, AcmeError).value.message)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.body._parts, [])
        self.body.connectionLost(Failure(ConnectionLost()))

    def test_broken_off(self) -> None:
        """One that breaks off is none."""
        self.body.dataReceived(b"x")
        self.body.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(self.body.done, ConnectionLost)
