"""Health checks of new workers; on a machine in memory."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from ood.errors import WorkerError
from ood.procmon.core import health
from ood.procmon.workers.health import ASK_AGAIN_SECONDS
from tests.procmon.machine import ContainerTestCase, Node


class AnswerTests(SynchronousTestCase):
    """What counts as an answer."""

    def test_status(self) -> None:
        """A status is known when its line is complete; what is no HTTP is no answer."""
        self.assertIsNone(health.status(b"HTTP/1.1 20"))
        self.assertEqual(health.status(b"HTTP/1.1 204 No Content\r\n"), 204)
        self.assertEqual(health.status(b"HTTP/1.0 503\r\n"), 503)
        for wrong in (b"SSH-2.0\r\n", b"HTTP/1.1 2000 \r\n", b"\n", b"x" * 5000):
            self.assertEqual(health.status(wrong), 0, wrong)

    def test_healthy(self) -> None:
        """Answers and redirections are good, all else is not."""
        good = [
            one for one in (0, 101, 200, 204, 302, 399, 400, 404, 503) if health.is_healthy(one)
        ]
        self.assertEqual(good, [200, 204, 302, 399])


class CheckupTests(ContainerTestCase):
    """A worker with healthPath counts when it has answered well."""

    def begin(self) -> Node:
        self.converge(health_path="/up?x=1", health_timeout=5000)
        node = self.machine.nodes[-1]
        node.listen()
        self.machine.pump()
        return node

    def question(self, node: Node) -> socket.socket:
        """Return the connection that the worker got."""
        for message in node.hear():
            node.say({"cmd": "NODE_CLUSTER", "ack": message["seq"], "accepted": True})
        node.heard.clear()
        (number,) = node.got
        node.got.clear()
        pipe = socket.socket(fileno=number)
        pipe.settimeout(1)
        self.addCleanup(pipe.close)
        return pipe

    def answer(self, node: Node, data: bytes) -> bytes:
        """Answer the question that the worker was asked; return it."""
        self.machine.pump()
        pipe = self.question(node)
        asked = pipe.recv(1000)
        pipe.sendall(data)
        pipe.close()
        self.machine.pump()
        return asked

    def test_healthy(self) -> None:
        """It is asked over a connection of its own, and is online with the answer."""
        node = self.begin()
        self.assertEqual(self.states(), ["launching"])
        self.assertFalse(self.container.roster.streams)
        asked = self.answer(node, b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertTrue(asked.startswith(b"GET /up?x=1 HTTP/1.1\r\nHost: app.localhost\r\n"), asked)
        self.assertEqual(self.states(), ["online"])

    def test_settled(self) -> None:
        """The answer is enough for whoever waits for the app: nothing else has to happen."""
        node = self.begin()
        settled = self.container.when_settled()
        self.machine.pump()
        pipe = self.question(node)
        self.machine.pump()
        self.assertNoResult(settled)
        pipe.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self.machine.pump()
        self.successResultOf(settled)

    def test_warming_up(self) -> None:
        """A bad answer, or none, is asked for again."""
        node = self.begin()
        for bad in (b"HTTP/1.1 503 Later\r\n\r\n", b"", b"ssh\r\n"):
            self.answer(node, bad)
            self.assertEqual(self.states(), ["launching"])
            self.clock.advance(ASK_AGAIN_SECONDS)
        self.answer(node, b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual(self.states(), ["online"])

    def test_never_healthy(self) -> None:
        """Who is not healthy in time failed to start, and the error says what it answered."""
        node = self.begin()
        settled = self.container.when_settled()
        self.answer(node, b"HTTP/1.1 500 Oh\r\n\r\n")
        self.clock.advance(5)
        error = self.failureResultOf(settled, WorkerError).value
        self.assertIn("GET /up?x=1 answered 500 within 5 s", error.message)

    def test_hangs(self) -> None:
        """Who takes the question and says nothing fails, too."""
        node = self.begin()
        settled = self.container.when_settled()
        self.question(node)
        self.clock.advance(5)
        error = self.failureResultOf(settled, WorkerError).value
        self.assertIn("was not answered", error.message)

    def test_dies_meanwhile(self) -> None:
        """A death ends the check."""
        node = self.begin()
        node.exit(1)
        self.machine.pump()
        self.assertEqual(self.states(), ["waiting-restart"])
