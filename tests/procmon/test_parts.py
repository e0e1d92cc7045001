"""Smaller parts of the process monitor: doors, returned connections, members, hosts."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.errors import WorkerError
from ood.interfaces import Worker
from ood.model.document import App, Document, Settings
from ood.net.fdchannel import FdChannel
from ood.procmon.core.join import Hello
from ood.procmon.members.door import REFUSAL_SECONDS, Door, directory_name
from ood.procmon.members.hosts import hosts_of
from ood.procmon.members.joined import JoinedMember
from ood.procmon.members.returned import returned_socket
from ood.procmon.members.roster import Roster
from ood.procmon.members.scarce import REST_SECONDS
from ood.procmon.report import urls
from ood.procmon.system import accounts
from ood.procmon.system.untouched import untouched
from ood.traffic.traffic import AppTraffic
from tests.procmon.machine import Machine


class TemporaryTestCase(SynchronousTestCase):
    """Has a directory of its own."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ood-part-"))
        self.directory.chmod(0o755)
        self.addCleanup(rmtree, self.directory)


class DoorTests(TemporaryTestCase):
    """Where processes join."""

    def setUp(self) -> None:
        super().setUp()
        self.machine = Machine()
        self.clock = Clock()
        self.admitted: list[tuple[Hello, int]] = []
        self.remarks: list[str] = []
        self.refusal = ""

    def admit(self, channel: FdChannel, hello: Hello, pid: int) -> str:
        self.admitted.append((hello, pid))
        self.channel = channel
        return self.refusal

    def stranger(self, sock: socket.socket, pid: int) -> bool:
        return False

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    def door(self, directory: Path | None = None, uid: int | None = None) -> Door:
        account = accounts.find(None, None)
        if uid is not None:
            account = accounts.Account("x", "/", uid, 0, frozenset(), other=False)
        machine: Any = self.machine
        where = directory or self.directory / "app.0"
        door = Door(machine, self.clock, directory=where, account=account, host=self)
        door.open()
        self.addCleanup(door.close)
        return door

    def knock(self, door: Door, data: bytes) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.connect(str(door.join_path))
        sock.setblocking(False)
        sock.sendall(data)
        self.machine.pump()
        return sock

    def test_hello(self) -> None:
        """A process is let in with what it says and what the kernel says about it."""
        self.knock(self.door(), b'{"ood":"hello","v":1,"token":"t","pid":1}\n')
        self.addCleanup(self.channel.close)
        self.assertEqual(self.admitted, [(Hello(1, "t", 1), os.getpid())])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """Who is refused is disconnected, and the log says why."""
        self.refusal = "no"
        sock = self.knock(self.door(), b'{"ood":"hello","v":1,"token":"t","pid":1}\n')
        self.assertEqual(sock.recv(1), b"")
        self.assertIn("may not join: no", self.remarks[0])

    def test_refused_often(self) -> None:
        """Processes that are refused in a row do not fill the log."""
        self.refusal = "no"
        door = self.door()
        hello = b'{"ood":"hello","v":1,"token":"t","pid":1}\n'
        for _ in range(5):
            self.knock(door, hello)
        self.assertEqual(len(self.remarks), 1)
        self.clock.advance(REFUSAL_SECONDS)
        self.knock(door, hello)
        self.assertIn("may not join: no (and 4 before it)", self.remarks[1])

    def test_nonsense(self) -> None:
        """Who says something else first is disconnected."""
        for data in (b"GET / HTTP/1.1\r\n\r\n", b'{"ood":"ack","n":1}\n', b"x" * 66_000):
            sock = self.knock(self.door(self.directory / f"d{len(data)}"), data)
            self.assertRaises((ConnectionError, AssertionError), self.nothing, sock)
        self.assertEqual(self.admitted, [])

    def nothing(self, sock: socket.socket) -> None:
        self.assertNotEqual(sock.recv(1), b"")

    def test_in_the_way(self) -> None:
        """A directory in a socket's place is named; once it is gone the door opens."""
        obstacle = self.directory / "app.0" / "back.sock"
        (obstacle / "full").mkdir(parents=True)
        error = self.assertRaises(WorkerError, self.door)
        self.assertIn(str(obstacle), error.message)
        self.assertIn("remove it", error.hint)
        (obstacle / "full").rmdir()
        obstacle.rmdir()
        self.door()

    def test_silent(self) -> None:
        """Who says nothing is disconnected after a while."""
        sock = self.knock(self.door(), b"")
        self.clock.advance(60)
        self.assertEqual(sock.recv(1), b"")

    def test_other_user(self) -> None:
        """A process of another user is not even heard."""
        sock = self.knock(self.door(uid=4_000_000), b"")
        self.assertEqual(sock.recv(1), b"")

    def test_path_too_long(self) -> None:
        """A path that no socket can have is an error with the limit."""
        directory = self.directory / ("x" * 100)
        error = self.assertRaises(WorkerError, self.door, directory)
        self.assertIn("at most 107 bytes", str(error))

    def test_long_names(self) -> None:
        """Long names of apps give short names of directories, each its own."""
        names = {directory_name("a" * 99 + end, 1) for end in "bc"}
        self.assertEqual(len(names), 2)
        self.assertTrue(all(len(name) < 60 for name in names))


class ConnectionTestCase(SynchronousTestCase):
    """Has a client's connection."""

    def setUp(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            self.port = listener.getsockname()[1]
            self.client = socket.create_connection(("127.0.0.1", self.port))
            self.ours, _ = listener.accept()
        self.addCleanup(self.client.close)
        self.addCleanup(self.ours.close)


class ReturnedTests(ConnectionTestCase):
    """Connections that workers give back."""

    def test_client(self) -> None:
        """A client's connection is taken, and what was read before does not count."""
        self.client.sendall(b"first request")
        self.ours.recv(100)
        self.assertFalse(untouched(self.ours))
        returned = returned_socket(self.ours, {self.port})
        assert returned is not None
        self.addCleanup(returned.close)
        self.assertTrue(untouched(returned))
        self.client.sendall(b"second request")
        self.assertTrue(untouched(returned))
        returned.recv(3)
        self.assertFalse(untouched(returned))

    def test_fin(self) -> None:
        """A client that has closed its side has not been read from."""
        self.client.sendall(b"request")
        self.client.shutdown(socket.SHUT_WR)
        self.assertTrue(untouched(self.ours))

    def test_others(self) -> None:
        """Anything else is refused: other ports, listeners, unix sockets, files."""
        self.assertIsNone(returned_socket(self.ours, {1}))
        left, right = socket.socketpair()
        with left, right, socket.socket() as fresh, socket.socket(type=socket.SOCK_DGRAM) as udp:
            for sock in (left, fresh, udp):
                self.assertIsNone(returned_socket(sock, {self.port, 0}))


class BlockedTests(ConnectionTestCase):
    """Members that don't read."""

    def test_other_member(self) -> None:
        """When a member's pipe is full the others get the connections, and nothing is lost."""
        machine: Any = Machine()
        clock = Clock()
        owner: Any = _Owner()
        roster = Roster("app")
        members = []
        for number in range(2):
            ours, theirs = socket.socketpair()
            self.addCleanup(theirs.close)
            channel = FdChannel(machine, clock, ours, lambda _d, _f: None, lambda: None)
            worker = Worker(app="app", instance=number)
            member = JoinedMember(
                worker, owner, 1, channel=channel, pid=1, clock=clock, traffic=AppTraffic("a")
            )
            self.addCleanup(member.close)
            roster.add(member)
            channel.received(b'{"ood":"listening","id":0,"port":1}\n', [])
            members.append(member)
        full, other = members
        roster.accept(full, True)
        while full.load < 1 << 50:
            self.assertTrue(roster.hand_off(self.ours, self.refused))
        roster.accept(other, True)
        for _ in range(20):
            self.assertTrue(roster.hand_off(self.ours, self.refused))
        self.assertEqual(other.unacknowledged, 20)

    def test_too_many_in_flight(self) -> None:
        """When the kernel has too many descriptors in flight it is tried again soon."""
        machine: Any = Machine()
        clock = Clock()
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        channel = FdChannel(machine, clock, ours, lambda _d, _f: None, lambda: None)
        self.addCleanup(channel.close)
        send, channel._sendmsg = channel._sendmsg, self.too_many
        self.assertTrue(channel.send(b"ab", self.ours.fileno()))
        self.assertTrue(channel.blocked)
        self.assertEqual(machine.writers, set())
        clock.advance(1)
        channel.doWrite()
        self.assertTrue(channel.blocked)
        channel._sendmsg = send
        clock.advance(1)
        self.assertEqual(machine.writers, {channel})
        channel.doWrite()
        self.assertEqual(theirs.recv(10), b"ab")

    @staticmethod
    def too_many(*_: object) -> int:
        raise OSError(109, "Too many references: cannot splice")

    def refused(self, app: str, sock: socket.socket) -> None:
        self.fail("refused")


class _Owner:
    def member_changed(self) -> None:
        pass


class AcknowledgementTests(ConnectionTestCase):
    """What a joined process may say about connections."""

    def setUp(self) -> None:
        super().setUp()
        self.complaints: list[str] = []
        self.remarks: list[str] = []
        self.clock = Clock()
        machine: Any = Machine()
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        self.channel = FdChannel(machine, Clock(), ours, lambda _d, _f: None, lambda: None)
        owner: Any = self
        worker = Worker(app="app", instance=0)
        self.member = JoinedMember(
            worker, owner, 1, channel=self.channel, pid=1, clock=self.clock, traffic=AppTraffic("a")
        )
        self.addCleanup(self.member.close)
        self.say(b'{"ood":"listening","id":0,"port":1}\n')
        for _ in range(3):
            self.member.give(self.ours.dup(), None)

    def member_changed(self) -> None:
        pass

    def member_lost(self, member: JoinedMember) -> None:
        for sock, _, _ in member.take_pending():
            sock.close()

    def refused(self, member: JoinedMember, entry: Any) -> None:
        entry[0].close()

    def misbehaved(self, why: str) -> None:
        self.complaints.append(why)

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    def say(self, data: bytes) -> None:
        self.channel.received(data, [])

    def test_cumulative(self) -> None:
        """An acknowledgement settles all before it, except what was refused."""
        self.say(b'{"ood":"nack","n":2}\n{"ood":"ack","n":2}\n')
        self.assertEqual(list(self.member.pending), [3])
        self.assertEqual(self.member.load // (1 << 20), 1)
        self.assertEqual(self.complaints, [])

    def test_no_descriptor(self) -> None:
        """A process without descriptors is left alone for a while; its log tells of it once."""
        for number in (b"1", b"2"):
            self.say(b'{"ood":"nack","n":%b,"full":true}\n' % number)
        self.assertEqual([3], list(self.member.pending))
        self.assertEqual((True, 2), (self.member.short, self.member.descriptors.dropped))
        self.clock.advance(REST_SECONDS)
        self.assertFalse(self.member.short)
        self.say(b'{"ood":"nack","n":3,"full":true}\n')
        self.assertTrue(self.member.short)
        self.assertEqual(1, len(self.remarks), self.remarks)
        self.assertEqual([], self.complaints)
        self.member.close()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_refusing_makes_no_room(self) -> None:
        """A process that refuses is never taken for less busy than an idle one."""
        self.say(b'{"ood":"stats","connections":0}\n{"ood":"nack","n":1}\n{"ood":"ack","n":3}\n')
        self.assertEqual(self.member.load, 0)
        self.say(b'{"ood":"stats","connections":5}\n')
        self.assertEqual(self.member.load, 5)

    def test_lies(self) -> None:
        """Who acknowledges or refuses what it never got is sent away."""
        for lie in (b'{"ood":"ack","n":4}\n', b'{"ood":"nack","n":4}\n', b'{"ood":"back"}\n'):
            self.setUp()
            self.say(lie)
            self.assertEqual(len(self.complaints), 1)
            self.assertFalse(self.channel.open)

    def test_backwards(self) -> None:
        """An acknowledgement can't be taken back."""
        self.say(b'{"ood":"ack","n":2}\n{"ood":"ack","n":1}\n')
        self.assertEqual(len(self.complaints), 1)


class HostsTests(SynchronousTestCase):
    """Which requests are whose."""

    def document(self, **apps: App) -> Document:
        return Document(apps=apps)

    def test_alone(self) -> None:
        """The only app is the default."""
        hosts = hosts_of("a", self.document(a=App(cwd="/", port=1, domains=("a.example",))))
        self.assertEqual((hosts.own, hosts.default), (("a.example", "a.localhost"), True))

    def test_foreign(self) -> None:
        """The default app hears of all names that are not its own; others of none."""
        apps = {"a": App(cwd="/", port=1, default=True), "b": App(cwd="/", port=2)}
        document = self.document(**apps)
        self.assertEqual(hosts_of("a", document).foreign, ("b.localhost",))
        self.assertEqual(hosts_of("b", document).foreign, ())
        self.assertFalse(hosts_of("b", document).default)

    def test_every(self) -> None:
        """An app with a rule that must see every request hears that none is its own."""
        app = App(cwd="/", port=1, headers={"A": "b"})
        self.assertTrue(hosts_of("a", self.document(a=app)).every)
        self.assertFalse(hosts_of("a", self.document(a=App(cwd="/", port=1))).every)

    def test_wildcard(self) -> None:
        """An app with a wildcard hears of the names below it that are another's."""
        apps = {
            "a": App(cwd="/", port=1, domains=("*.example.com",)),
            "b": App(cwd="/", port=2, domains=("www.example.com", "other.example")),
        }
        self.assertEqual(hosts_of("a", self.document(**apps)).foreign, ("www.example.com",))


class AddressTests(SynchronousTestCase):
    """Where an app answers."""

    def addresses(self, tls: str = "terminate", **ports: int) -> tuple[str, ...]:
        app = App(cwd="/", port=3001, domains=("a.org", "*.a.org"), tls=tls)
        document = Document(settings=Settings(**ports), apps={"shop": app})
        return urls("shop", document, False)

    def test_plain(self) -> None:
        """Each name over HTTP, and its own port."""
        own = ("http://127.0.0.1:3001",)
        found = self.addresses(http_port=80, https_port=443)
        self.assertEqual(found, ("http://a.org", "http://shop.localhost", *own))
        self.assertEqual(self.addresses(http_port=8000)[0], "http://a.org:8000")
        self.assertEqual(self.addresses(http_port=0), own)

    def test_passed_through(self) -> None:
        """An app with TLS of its own understands nothing else."""
        own = ("https://127.0.0.1:3001",)
        found = self.addresses("passthrough", http_port=80, https_port=443)
        self.assertEqual(found, ("https://a.org", "https://shop.localhost", *own))
        self.assertEqual(self.addresses("passthrough", https_port=8443)[0], "https://a.org:8443")
        self.assertEqual(self.addresses("passthrough", https_port=0), own)
