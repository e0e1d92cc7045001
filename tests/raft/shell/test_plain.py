"""Transports in the seed's form: ``connect``, ``invoke``, ``listen``, ``close``, callbacks."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.raft import Node
from ood.raft.adapters import adapt_connection, adapt_persistence
from ood.raft.errors import ConnectionClosedError, RaftError


class PlainWire:
    """One end of a connection that knows callbacks only."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.other: PlainWire
        self.on_call: Callable[..., Any] | None = None
        self.gone = False

    def invoke(self, type: str, arguments: bytes, callback: Callable[..., Any]) -> None:
        if self.gone:
            callback(ConnectionClosedError("gone"), None)
            return

        def arrive() -> None:
            if self.other.on_call is not None:
                self.other.on_call(type, arguments, callback)

        self.clock.callLater(0, arrive)

    def listen(self, callback: Callable[..., Any]) -> None:
        self.on_call = callback

    def close(self, callback: Callable[..., Any]) -> None:
        self.gone = self.other.gone = True
        callback(None)


class PlainTransport:
    """Declares nothing, returns connections at once."""

    def __init__(self, clock: Clock, places: dict[str, Any]) -> None:
        self.clock, self.places = clock, places

    def connect(self, options: str) -> PlainWire:
        near, far = PlainWire(self.clock), PlainWire(self.clock)
        near.other, far.other = far, near
        if options not in self.places:
            raise OSError("nobody there")
        self.places[options](far)
        return near

    def listen(self, options: str, on_connection: Callable[[Any], Any]) -> Deferred[str]:
        self.places[options] = on_connection
        return succeed(options)

    def stop(self) -> Deferred[None]:
        return succeed(None)


class PlainTests(SynchronousTestCase):
    """A cluster whose transport is as plain as the seed describes it."""

    def test_cluster(self) -> None:
        """Three members elect, commit and read over plain connections."""
        clock, places = Clock(), {}  # type: ignore[var-annotated]
        nodes = [
            Node(
                id,
                "plain",
                PlainTransport(clock, places),  # type: ignore[arg-type]
                clock=clock,
                random=Random(number),
                peers={peer: peer for peer in "abc" if peer != id},
            )
            for number, id in enumerate("abc")
        ]
        for node in nodes:
            self.successResultOf(node.start())
        clock.pump([0.01] * 500)
        self.assertEqual(len({node.leader for node in nodes}), 1)
        for node in nodes:
            done = node.command(b"x")
            clock.pump([0.005] * 20)
            self.assertEqual(self.successResultOf(done), b"x")
        for node in nodes:
            self.successResultOf(node.stop())

    def test_loss_shows_in_calls(self) -> None:
        """That a plain connection is gone is told once a call fails."""
        wire = PlainWire(Clock())
        wire.other = PlainWire(wire.clock)
        connection = adapt_connection(wire)
        gone: list[bool] = []
        connection.on_close(lambda: gone.append(True))
        wire.gone = True
        self.failureResultOf(connection.invoke("a", b""), ConnectionClosedError)
        self.assertEqual(gone, [True])

    def test_what_keeps_nothing(self) -> None:
        """An object that can't save is refused by name."""
        with self.assertRaises(RaftError) as caught:
            adapt_persistence(object())
        self.assertIn("save(state) and load()", str(caught.exception))
