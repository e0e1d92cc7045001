"""Clients that stay with a worker: who gets a connection, and how long a draining worker waits."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.interfaces import Worker
from ood.model.document import App
from ood.net.fdchannel import FdChannel
from ood.procmon.members.joined import JoinedMember
from ood.procmon.members.roster import Roster
from ood.procmon.system.changes import Changes
from ood.procmon.workers.linger import VISIT_SECONDS, linger
from ood.traffic.traffic import AppTraffic
from tests.procmon.machine import Machine


@dataclass
class _Member:
    worker: Worker


@dataclass
class _Crew:
    app: App


class LingerTests(SynchronousTestCase):
    """A worker that drains, with two processes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.workers = [Worker("app", 0, accepting=False) for _ in range(2)]
        self.exited = False

    def begin(self, sticky: str = "cookie", *, running: bool = True) -> Deferred[None]:
        app = App(cwd="/", port=3001, sticky=sticky, running=running)
        crew: Any = _Crew(app)
        members: Any = [_Member(worker) for worker in self.workers]
        changes = Changes(self.clock)
        return Deferred.fromCoroutine(
            linger(crew, members, lambda: self.exited, changes, self.clock.seconds() + 100)
        )

    def visit(self) -> None:
        self.workers[1].visited = self.clock.seconds()

    def pass_seconds(self, seconds: float) -> None:
        self.clock.pump([0.1] * int(seconds / 0.1))

    def test_nobody(self) -> None:
        """Where no client stays there is nothing to wait for."""
        for sticky in ("off", "ip", "cookie"):
            self.successResultOf(self.begin(sticky))
        self.visit()
        self.successResultOf(self.begin("ip"))

    def test_visits(self) -> None:
        """It takes its clients' requests until none came for a while."""
        self.visit()
        waiting = self.begin()
        for _ in range(4):
            self.pass_seconds(VISIT_SECONDS - 0.5)
            self.assertTrue(all(one.lingers for one in self.workers))
            self.assertNoResult(waiting)
            self.visit()
        self.pass_seconds(VISIT_SECONDS + 0.5)
        self.successResultOf(waiting)
        self.assertFalse(any(one.lingers for one in self.workers))

    def test_a_long_poll(self) -> None:
        """A request that is being answered counts, however long that takes."""
        self.workers[0].busy = 1
        waiting = self.begin()
        self.pass_seconds(60)
        self.assertNoResult(waiting)
        self.workers[0].busy = 0
        self.pass_seconds(0.2)
        self.successResultOf(waiting)

    def test_no_end(self) -> None:
        """Part of the time for the drain is left, even if clients never go."""
        self.workers[0].busy = 1
        waiting = self.begin()
        self.pass_seconds(79)
        self.assertNoResult(waiting)
        self.pass_seconds(2)
        self.successResultOf(waiting)

    def test_a_stop(self) -> None:
        """An app that is stopped waits for nobody, nor does a process that is gone."""
        self.workers[0].busy = 1
        self.successResultOf(self.begin(running=False))
        waiting = self.begin()
        self.assertNoResult(waiting)
        self.exited = True
        self.pass_seconds(0.2)
        self.successResultOf(waiting)


class KeyTests(SynchronousTestCase):
    """Connections that are handed off by a key."""

    def setUp(self) -> None:
        machine: Any = Machine()
        clock = Clock()
        self.roster = Roster("app")
        self.members: list[JoinedMember] = []
        for number in range(3):
            ours, theirs = socket.socketpair()
            self.addCleanup(theirs.close)
            channel = FdChannel(machine, clock, ours, lambda _d, _f: None, lambda: None)
            owner: Any = self
            worker = Worker(app="app", instance=number)
            member = JoinedMember(
                worker, owner, 1, channel=channel, pid=1, clock=clock, traffic=AppTraffic("a")
            )
            self.addCleanup(member.close)
            self.roster.add(member)
            channel.received(b'{"ood":"listening","id":0,"port":1}\n', [])
            self.roster.accept(member, True)
            self.members.append(member)

    def member_changed(self) -> None:
        """Part of a member's owner."""

    def give(self, key: bytes | None) -> JoinedMember:
        before = [member.unacknowledged for member in self.members]
        sock = socket.socket()
        self.addCleanup(sock.close)
        self.assertTrue(self.roster.hand_off(sock, lambda _app, _sock: None, key))
        pairs = zip(self.members, before, strict=True)
        (taker,) = [member for member, count in pairs if member.unacknowledged > count]
        return taker

    def test_a_key(self) -> None:
        """A key's connections go to one member, whatever its load; keys are spread."""
        takers = {key: self.give(b"%d" % key) for key in range(12)}
        for _ in range(3):
            for key, taker in takers.items():
                self.assertIs(taker, self.give(b"%d" % key))
        self.assertEqual(3, len(set(map(id, takers.values()))))

    def test_a_member_that_goes(self) -> None:
        """When a member goes, only its own keys move; when its place is taken they return."""
        takers = {key: self.give(b"%d" % key) for key in range(12)}
        gone = self.members[0]
        self.roster.accept(gone, False)
        for key, taker in takers.items():
            found = self.give(b"%d" % key)
            if taker is gone:
                self.assertIsNot(gone, found)
            else:
                self.assertIs(taker, found)
        self.roster.accept(gone, True)
        for key, taker in takers.items():
            self.assertIs(taker, self.give(b"%d" % key))

    def test_workers(self) -> None:
        """Those that drain are listed as long as they take requests of their clients."""
        workers = [member.worker for member in self.members]
        self.assertEqual(workers, self.roster.workers())
        self.roster.accept(self.members[0], False)
        self.assertEqual(workers[1:], self.roster.workers())
        workers[0].lingers = True
        self.assertEqual(workers, self.roster.workers())
