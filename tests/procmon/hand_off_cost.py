"""What one hand-off costs: ``python -m tests.procmon.hand_off_cost``.

Two members in memory; the other ends of their pipes are emptied between rounds, so
that this is the cost in ood alone.  The cheapest round counts: others were disturbed.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Any

from twisted.internet.task import Clock

from ood.interfaces import Worker
from ood.net.fdchannel import FdChannel
from ood.procmon.members.joined import JoinedMember
from ood.procmon.members.roster import Roster
from ood.traffic.traffic import AppTraffic
from tests.procmon.machine import Machine

BATCH = 60
ROUNDS = 400


class Owner:
    """A worker to whom nothing happens."""

    def member_changed(self) -> None:
        pass


def member(roster: Roster) -> tuple[JoinedMember, FdChannel, socket.socket]:
    """Add a member; return it with both ends of its pipe."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    machine: Any = Machine()
    owner: Any = Owner()
    channel = FdChannel(machine, Clock(), ours, lambda _d, _f: None, lambda: None)
    worker = Worker(app="app", instance=0)
    joined = JoinedMember(
        worker, owner, 1, channel=channel, pid=1, clock=Clock(), traffic=AppTraffic("a")
    )
    roster.add(joined)
    channel.received(b'{"ood":"listening","id":0,"port":1}\n', [])
    roster.accept(joined, True)
    return joined, channel, theirs


def empty(theirs: socket.socket) -> int:
    """Take what was sent; return how many connections that were."""
    count = 0
    while True:
        try:
            _, descriptors, _, _ = socket.recv_fds(theirs, 2, 1)
        except BlockingIOError:
            return count
        count += 1
        for descriptor in descriptors:
            os.close(descriptor)


def microseconds(began: int) -> float:
    return (time.perf_counter_ns() - began) / BATCH / 1000


def refused(app: str, sock: socket.socket) -> None:
    """Nobody refuses here."""


def measure() -> tuple[float, float, float]:
    """Return microseconds of a hand-off, of settling one, and of the bare system call."""
    roster = Roster("app")
    members = [member(roster) for _ in range(2)]
    counts = [0] * len(members)
    given, settled = [], []
    for _ in range(ROUNDS):
        sockets = [socket.socket() for _ in range(BATCH)]
        began = time.perf_counter_ns()
        for sock in sockets:
            roster.hand_off(sock, refused)
        given.append(microseconds(began))
        for number, (_, _, theirs) in enumerate(members):
            counts[number] += empty(theirs)
        began = time.perf_counter_ns()
        for count, (_, channel, _) in zip(counts, members, strict=True):
            channel.received(b'{"ood":"ack","n":%d}\n' % count, [])
        settled.append(microseconds(began))
        assert not any(joined.pending for joined, _, _ in members)
    return min(given), min(settled), bare()


def bare() -> float:
    """Return microseconds of the system call alone."""
    left, right = socket.socketpair()
    right.setblocking(False)
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        for _ in range(BATCH):
            rights = struct.pack("i", right.fileno())
            left.sendmsg((b"CA",), ((socket.SOL_SOCKET, socket.SCM_RIGHTS, rights),))
        found.append(microseconds(began))
        empty(right)
    return min(found)


if __name__ == "__main__":
    hand_off, settle, call = measure()
    print(f"hand_off {hand_off:.2f} us (of it the bare sendmsg {call:.2f} us), ack {settle:.2f} us")
