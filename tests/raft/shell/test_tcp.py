"""Frames, handshakes and certificates: who gets in and what is said."""

from __future__ import annotations

import contextlib
import socket
from itertools import pairwise
from random import Random
from struct import pack
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ood.clock import MonotonicClock
from ood.raft import Node, RaftError
from ood.raft.calls import CALL, RESULT, SEND, Calls, Frame
from ood.raft.core.types import Heartbeat
from ood.raft.errors import BusyError, FrameError, HandshakeError, RemoteError
from ood.raft.framing import FrameReader, encode_frame
from ood.raft.handshake import check_hello, greet
from ood.raft.links import Links
from ood.raft.memory import MemoryNetwork, MemoryTransport
from ood.raft.tcp import SILENCE_OPTIONS, TcpTransport, split_address
from ood.raft.tls import TlsOptions
from ood.raft.wire import (
    COMMAND,
    MESSAGES,
    PROTOCOL_VERSION,
    Command,
    Hello,
    encode,
    encode_messages,
)
from tests.raft.certificates import make_certificates
from tests.support.ports import free_port

FRAMES = st.lists(
    st.builds(
        Frame,
        st.integers(0, 3),
        st.integers(0, 2**40),
        st.text(max_size=20),
        st.binary(max_size=300),
    ),
    max_size=8,
)


class FramingTests(SynchronousTestCase):
    """Frames come out of a stream as they went in, however it is cut."""

    @given(FRAMES, st.lists(st.integers(1, 200), min_size=1))
    def test_any_cut(self, frames: list[Frame], cuts: list[int]) -> None:
        """Whatever sizes the pieces have, the same frames arrive."""
        stream = b"".join(encode_frame(frame) for frame in frames)
        reader, found, place, turn = FrameReader(), [], 0, 0
        while place < len(stream):
            size = cuts[turn % len(cuts)]
            found += reader.feed(stream[place : place + size])
            place, turn = place + size, turn + 1
        self.assertEqual(found, frames)

    @given(st.binary(min_size=4, max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """Anything else is a FrameError or waits for more; nothing else is raised."""
        with contextlib.suppress(FrameError):
            list(FrameReader().feed(data))

    def test_too_long(self) -> None:
        """A length beyond the limit is refused before anything is read."""
        with self.assertRaises(FrameError) as caught:
            list(FrameReader().feed(b"GET / HTTP/1.1\r\n"))
        self.assertIn("something else than ood.raft", str(caught.exception))


class CallsTests(SynchronousTestCase):
    """Answers belong to calls."""

    def test_answer_to_nothing(self) -> None:
        """An answer that nobody waits for, or a kind that is none, is an error."""
        for frame in (Frame(RESULT, 7, "", b""), Frame(9, 0, "", b"")):
            with self.assertRaises(FrameError):
                Calls(lambda _: True).receive(frame)

    def test_full(self) -> None:
        """Where nothing more can be queued, a call is refused and a message dropped."""
        calls = Calls(lambda _: False)
        self.failureResultOf(calls.invoke("a", b""), BusyError)
        self.assertFalse(calls.send("a", b""))


class HandshakeTests(SynchronousTestCase):
    """Who is refused, and why."""

    def refused(self, hello: Hello, names: Any = None, expected: str | None = None) -> str:
        with self.assertRaises(HandshakeError) as caught:
            check_hello(hello, "cluster", names, expected)
        return str(caught.exception)

    def test_reasons(self) -> None:
        """Version, cluster, certificate and id each have their own sentence."""
        good = Hello(PROTOCOL_VERSION, "cluster", "a")
        check_hello(good, "cluster", frozenset({"a"}), "a")
        self.assertIn("version 9", self.refused(Hello(9, "cluster", "a")))
        self.assertIn("'other'", self.refused(Hello(PROTOCOL_VERSION, "other", "a")))
        self.assertIn("names b", self.refused(good, frozenset({"b"})))
        self.assertIn("names nobody", self.refused(good, frozenset()))
        self.assertIn("at the address of b", self.refused(good, None, "b"))

    def test_address(self) -> None:
        """Addresses are read strictly."""
        self.assertEqual(split_address("[::1]:80"), ("::1", 80))
        for bad in ("host", ":1", "host:", "host:99999", "host:x"):
            with self.assertRaises(RaftError):
                split_address(bad)

    def test_plaintext_has_to_be_asked_for(self) -> None:
        """Without TLS options there is no transport, unless in so many words."""
        with self.assertRaises(RaftError) as caught:
            TcpTransport(reactor)
        self.assertIn("plaintext=True", str(caught.exception))

    def test_certificates_are_read_early(self) -> None:
        """A missing or wrong PEM file is named."""
        with self.assertRaises(RaftError) as caught:
            TlsOptions("/nonexistent/cert", "k", "a").server()
        self.assertIn("/nonexistent/cert", str(caught.exception))


class InboundTests(SynchronousTestCase):
    """What a node takes from a connection."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork()
        self.node = Node(
            "a", "c", MemoryTransport(self.clock, self.network), clock=self.clock, random=Random(1)
        )
        self.successResultOf(self.node.start())
        self.clock.pump([0.05] * 40)
        self.transport = MemoryTransport(self.clock, self.network)
        self.connection = self.successResultOf(self.transport.connect("a"))

    def tearDown(self) -> None:
        self.successResultOf(self.node.stop())

    def answer(self, type: str, body: bytes) -> Deferred[bytes]:
        asked = self.connection.invoke(type, body)
        self.clock.pump([0] * 6)
        return asked

    def greeted(self, **fields: Any) -> None:
        hello = Hello(PROTOCOL_VERSION, "c", "b", **fields)
        self.successResultOf(self.answer("hello", encode(hello)))

    def test_nothing_before_the_handshake(self) -> None:
        """Whoever does not greet first is thrown out."""
        applied = self.node.stats().status.applied
        body = encode(Command(b"x"))
        error = self.failureResultOf(self.answer(COMMAND, body), RemoteError).value
        self.assertEqual(error.remote_code, HandshakeError.code)
        self.failureResultOf(self.answer("hello", b""), Exception)
        self.assertEqual(self.node.stats().status.applied, applied)

    def test_client_can_not_play_member(self) -> None:
        """A client, which names no incarnation, sends no messages of the algorithm."""
        self.greeted()
        error = self.failureResultOf(self.answer(MESSAGES, encode_messages([]))).value
        self.assertIn("only members", str(error))

    def test_member_speaks_for_itself(self) -> None:
        """A member can't send in another one's name."""
        self.greeted(incarnation="x")
        body = encode_messages([Heartbeat("z", "a", 9, 0)])
        error = self.failureResultOf(self.answer(MESSAGES, body)).value
        self.assertIn("another member's name", str(error))
        self.assertNotEqual(self.node.stats().status.term, 9)

    def test_unknown_call(self) -> None:
        """A call that does not exist is refused; the connection stays."""
        self.greeted()
        self.failureResultOf(self.answer("dance", b""), RemoteError)
        self.greeted()

    def test_damaged_arguments(self) -> None:
        """Arguments that can't be decoded end the connection."""
        self.greeted()
        self.failureResultOf(self.answer(COMMAND, b"\xc1"), RemoteError)
        self.failureResultOf(self.answer("leader", b""), Exception)

    def test_silence(self) -> None:
        """Whoever says nothing is thrown out after a while."""
        gone: list[bool] = []
        self.connection.on_close(lambda: gone.append(True))
        self.clock.pump([0.5] * 12)
        self.assertEqual(gone, [True])


class ReconnectTests(SynchronousTestCase):
    """A link connects again, with pauses that grow."""

    def test_back_off(self) -> None:
        """Tries get rarer while nobody answers, and go on for ever."""
        clock, tries = Clock(), []

        class Nobody:
            def connect(self, options: Any) -> Any:
                tries.append(clock.seconds())
                raise OSError("nobody there")

        hello = Hello(PROTOCOL_VERSION, "c", "a", "i")
        links = Links(Nobody(), clock, Random(1), lambda: hello, lambda _: None)  # type: ignore[arg-type]
        links.want({"b": "address"})
        clock.pump([0.01] * 3000)
        gaps = [later - before for before, later in pairwise(tries)]
        self.assertLess(gaps[0], 0.06)
        self.assertGreater(max(gaps), 1.0)
        self.assertLessEqual(max(gaps), 2.02)
        self.assertGreater(len(tries), 15)
        self.successResultOf(Deferred.fromCoroutine(links.stop()))
        self.assertEqual(clock.getDelayedCalls(), [])


class SocketTests(TestCase):
    """Real sockets, with and without TLS."""

    timeout = 120

    async def listening(self, transport: TcpTransport) -> str:
        self.addCleanup(transport.stop)
        return str(await transport.listen(f"127.0.0.1:{free_port()}", self.accepted))

    def accepted(self, connection: Any) -> None:
        connection.listen(lambda type, body, reply: reply(None, body))

    async def test_bad_frame(self) -> None:
        """Whoever speaks something else is cut off, with a line that says what came."""
        address = await self.listening(TcpTransport(reactor, plaintext=True))
        host, port = split_address(address)

        def talk() -> bytes:
            with socket.create_connection((host, port), 60) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                try:
                    return plain.recv(100)
                except ConnectionResetError:
                    return b""

        self.assertEqual(await deferToThread(talk), b"")
        good = TcpTransport(reactor, plaintext=True)
        self.addCleanup(good.stop)
        connection = await good.connect(address)
        self.assertEqual(await connection.invoke("a", b"still here"), b"still here")

    async def test_slow_reader(self) -> None:
        """What waits for a peer that does not read is bounded: messages are dropped."""
        transport = TcpTransport(reactor, plaintext=True)
        self.addCleanup(transport.stop)
        deaf = socket.socket()
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        self.addCleanup(deaf.close)
        connection = await transport.connect(f"127.0.0.1:{deaf.getsockname()[1]}")
        chunk = bytes(1 << 20)
        sent = 0
        while connection.send("m", chunk) and sent < 500:  # type: ignore[attr-defined]
            sent += 1
        self.assertGreater(sent, 60)
        self.assertLess(sent, 100)

    async def test_silent_peer(self) -> None:
        """With and without TLS, a peer that acknowledges nothing is given up after a while."""
        files = make_certificates(self.mktemp(), ["a"])
        for options in ({"plaintext": True}, {"tls": TlsOptions(*files["a"])}):
            transport = TcpTransport(reactor, **options)  # type: ignore[arg-type]
            connection: Any = await transport.connect(await self.listening(transport))
            for option, value in SILENCE_OPTIONS.items():
                found = connection.transport.socket.getsockopt(socket.IPPROTO_TCP, option)
                self.assertEqual(found, value)

    async def test_foreign_authority(self) -> None:
        """A certificate of another authority gets no connection, on either side."""
        ours = make_certificates(self.mktemp(), ["a"])
        theirs = make_certificates(self.mktemp(), ["b"])
        address = await self.listening(TcpTransport(reactor, TlsOptions(*ours["a"])))
        stranger = TcpTransport(reactor, TlsOptions(*theirs["b"]))
        self.addCleanup(stranger.stop)
        with self.assertRaises(Exception):  # noqa: B017  OpenSSL's, or a lost connection
            await stranger.connect(address)

    async def test_id_against_certificate(self) -> None:
        """A member of the cluster can't pass itself off as another member."""
        files = make_certificates(self.mktemp(), ["a", "b", "c"])
        node = Node(
            "a",
            "c",
            TcpTransport(reactor, TlsOptions(*files["a"])),
            clock=MonotonicClock(reactor),  # type: ignore[arg-type]
            address=f"127.0.0.1:{free_port()}",
        )
        await node.start()
        self.addCleanup(node.stop)
        transport = TcpTransport(reactor, TlsOptions(*files["b"]))
        self.addCleanup(transport.stop)
        connection = await transport.connect(node.address)
        with self.assertRaises(RemoteError) as caught:
            await greet(
                connection,
                Hello(PROTOCOL_VERSION, "c", "c", "incarnation"),
                MonotonicClock(reactor),  # type: ignore[arg-type]
            )
        self.assertIn("certificate of c names b", str(caught.exception))


class FrameKinds(SynchronousTestCase):
    """The numbers on the wire do not change by accident."""

    def test_bytes(self) -> None:
        """A call looks as it is documented."""
        body = b"\x94\x01\x07\xa1t\xc4\x02hi"
        self.assertEqual((SEND, CALL), (0, 1))
        self.assertEqual(encode_frame(Frame(CALL, 7, "t", b"hi")), pack(">I", len(body)) + body)
