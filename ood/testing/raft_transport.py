"""What every transport of a node has to do; run it over your own.

::

    class MyTransportTests(TransportConformance, TestCase):
        def make_pair(self):
            return MyTransport(...), MyTransport(...), options_to_listen_at

The tests use the reactor; the transports are stopped in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from ood.raft.callbacks import resolved
from ood.raft.errors import BusyError, ConnectionClosedError, RaftError, RemoteError
from ood.raft.interfaces import IConnection, IListener, IMessageConnection, Reply

# Long enough for a slow machine; a transport that answers takes no time.
TIMEOUT_SECONDS = 20.0


def echo(type: str, arguments: bytes, reply: Reply) -> None:
    """Answer with what was asked."""
    reply(None, type.encode() + b":" + arguments)


class TransportConformance:
    """The tests.  A subclass is a TestCase and gives ``make_pair``."""

    timeout = TIMEOUT_SECONDS

    def make_pair(self) -> tuple[IListener, IListener, Any]:
        """Return a transport to listen with, one to connect with, and where to listen."""
        raise AssertionError("give make_pair")

    async def connected(
        self, on_call: Callable[[str, bytes, Reply], object] = echo
    ) -> tuple[IConnection, IConnection]:
        """Return both ends of a connection; ``on_call`` listens at the far end."""
        case: Any = self
        server, client, options = self.make_pair()
        case.addCleanup(server.stop)
        case.addCleanup(client.stop)
        accepted: Deferred[IConnection] = Deferred()

        def accept(connection: IConnection) -> None:
            connection.listen(on_call)
            accepted.callback(connection)

        address = await server.listen(options, accept)
        near = await resolved(client.connect(address))
        return near, await accepted

    async def fails(self, deferred: Deferred[Any], *kinds: type[Exception]) -> Exception:
        """Return the error a Deferred fails with; it must be of one of the kinds."""
        try:
            result = await deferred
        except kinds as error:
            return error
        raise AssertionError(f"fired with {result!r}")

    async def test_invoke(self) -> None:
        """A call's type and arguments arrive as they are, and so does the answer."""
        case: Any = self
        near, _ = await self.connected()
        for arguments in (b"", b"\0\xff", bytes(range(256)) * 8192):
            case.assertEqual(await near.invoke("type", arguments), b"type:" + arguments)

    async def test_both_directions(self) -> None:
        """The listening side can call too."""
        case: Any = self
        near, far = await self.connected()
        near.listen(echo)
        case.assertEqual(await far.invoke("a", b"1"), b"a:1")
        case.assertEqual(await near.invoke("b", b"2"), b"b:2")

    async def test_callback(self) -> None:
        """A callback gets ``(err, result)``."""
        case: Any = self
        near, _ = await self.connected()
        calls: list[tuple[Any, Any]] = []
        await near.invoke("a", b"1", lambda err, result: calls.append((err, result)))
        case.assertEqual(calls, [(None, b"a:1")])

    async def test_answers_out_of_order(self) -> None:
        """Many calls under way get each its own answer."""
        case: Any = self
        replies: list[tuple[bytes, Reply]] = []

        def collect(_: str, arguments: bytes, reply: Reply) -> None:
            replies.append((arguments, reply))
            if len(replies) == 100:
                for its, answer in reversed(replies):
                    answer(None, its)

        near, _ = await self.connected(collect)
        asked = [near.invoke("n", b"%d" % number) for number in range(100)]
        case.assertEqual([await each for each in asked], [b"%d" % number for number in range(100)])

    async def test_refusal(self) -> None:
        """An error at the far end is one here, with its code and text."""
        case: Any = self

        def refuse(_: str, __: bytes, reply: Reply) -> None:
            reply(BusyError("too much", "wait"), b"")

        near, _ = await self.connected(refuse)
        error = await self.fails(near.invoke("a", b""), RemoteError)
        case.assertEqual(getattr(error, "remote_code", None), BusyError.code)
        case.assertIn("too much", str(error))

    async def test_close_fails_pending_calls(self) -> None:
        """Nobody knows what became of a call whose connection is gone."""
        near, _ = await self.connected(lambda *_: None)
        asked = near.invoke("a", b"")
        await near.close()
        await self.fails(asked, ConnectionClosedError)
        await self.fails(near.invoke("b", b""), ConnectionClosedError)

    async def test_close_is_told(self) -> None:
        """Both ends learn once that the connection is gone."""
        case: Any = self
        near, far = await self.connected()
        told: list[str] = []
        gone: Deferred[None] = Deferred()
        near.on_close(lambda: told.append("near"))
        far.on_close(lambda: told.append("far"))
        far.on_close(lambda: gone.callback(None))
        await near.close()
        await gone
        await near.close()
        case.assertEqual(sorted(told), ["far", "near"])
        near.on_close(lambda: told.append("late"))
        case.assertIn("late", told)

    async def test_nobody_there(self) -> None:
        """Connecting to where nobody listens fails."""
        case: Any = self
        server, client, options = self.make_pair()
        case.addCleanup(client.stop)
        address = await server.listen(options, lambda _: None)
        await server.stop()
        try:
            await resolved(client.connect(address))
        except Exception as error:
            case.assertNotIsInstance(error, AssertionError)
        else:
            case.fail("connected to nobody")

    async def test_nobody_listens(self) -> None:
        """A call to an end that does not listen is refused, not forgotten."""
        _, far = await self.connected()
        await self.fails(far.invoke("a", b""), RaftError)

    async def test_messages(self) -> None:
        """Messages arrive in order, before a call that was made after them."""
        case: Any = self
        seen: list[bytes] = []

        def note(_: str, arguments: bytes, reply: Reply) -> None:
            seen.append(arguments)
            reply(None, b"")

        near, _ = await self.connected(note)
        if not IMessageConnection.providedBy(near):
            return
        for number in range(50):
            case.assertTrue(near.send("m", b"%d" % number))
        await near.invoke("last", b"50")
        case.assertEqual(seen, [b"%d" % number for number in range(51)])
