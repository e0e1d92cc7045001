"""A client that is no member: it finds the leader and repeats safely."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ood.raft.client import RaftClient
from ood.raft.errors import HandshakeError, OutcomeUnknownError, RemoteError
from ood.raft.memory import MemoryTransport
from ood.testing.raft_cluster import MemoryCluster


def silence(*_: Any) -> None:
    """Say nothing."""


class ClientTests(SynchronousTestCase):
    """A cluster in memory and one client."""

    def setUp(self) -> None:
        self.cluster = MemoryCluster()
        self.addCleanup(self.cluster.stop)
        self.nodes = self.cluster.start("a", "b", "c")
        self.client = self.make(["a", "b", "c"])

    def make(self, addresses: list[str], cluster: str = "test") -> RaftClient:
        transport = MemoryTransport(self.cluster.clock, self.cluster.network)
        client = RaftClient(transport, addresses, cluster, self.cluster.clock)
        self.addCleanup(lambda: self.cluster.result(Deferred.fromCoroutine(client.close())))
        return client

    def do(self, coroutine: Any, seconds: float = 60.0) -> Any:
        return self.cluster.result(Deferred.fromCoroutine(coroutine), seconds)

    def test_command_and_query(self) -> None:
        """Whichever member it knows, it ends at the leader."""
        for number, address in enumerate("abc", 1):
            client = self.make([address])
            self.assertEqual(self.do(client.command(b"x")), number)
            self.assertEqual(self.do(client.query(b"")), number)

    def test_many_at_once(self) -> None:
        """Commands given at the same time share a connection and a session."""
        work = [Deferred.fromCoroutine(self.client.command(b"%d" % n)) for n in range(50)]
        self.assertEqual(sorted(self.cluster.result(each) for each in work), [*range(1, 51)])

    def test_leader_changes(self) -> None:
        """A command goes on to the next leader; each is applied once."""
        self.do(self.client.command(b"1"))
        for number in (2, 3):
            leader = self.cluster.leader()
            assert leader is not None
            if number == 2:
                self.cluster.result(leader.transfer_leadership())
            else:
                self.cluster.result(leader.stop())
            self.assertEqual(self.do(self.client.command(b"%d" % number)), number)

    def test_lost_answer(self) -> None:
        """An answer that gets lost: the command is sent again and applied once."""
        self.do(self.client.command(b"first"))
        leader = self.cluster.leader()
        assert leader is not None
        self.cluster.network.cut.add((leader.id, ""))  # its answers to the client
        done = Deferred.fromCoroutine(self.client.command(b"second"))
        self.cluster.pass_time(1)
        self.assertNoResult(done)
        self.assertEqual(len(leader.machine.commands), 2)  # type: ignore[attr-defined]
        self.cluster.heal()
        self.assertEqual(self.cluster.result(done, 60), 2)
        self.assertEqual(len(leader.machine.commands), 2)  # type: ignore[attr-defined]

    def test_nobody(self) -> None:
        """Without an answer in time the outcome is unknown."""
        client = self.make(["nowhere"])
        with self.assertRaises(OutcomeUnknownError):
            self.do(client.command(b"x", timeout=2))

    def test_old_leader_serves_no_old_value(self) -> None:
        """A client that still reaches a leader who was replaced gets the new value."""
        self.assertEqual(self.do(self.client.command(b"1")), 1)
        old = self.cluster.leader()
        assert old is not None
        self.cluster.isolate(old.id)  # from members; the client still reaches it
        others = [node for node in self.nodes if node is not old]
        self.cluster.until(lambda: any(node.driver.leading for node in others))
        new = next(node for node in others if node.driver.leading)
        self.assertEqual(self.cluster.result(new.command(b"2")), 2)
        self.assertEqual(self.do(self.client.query(b"")), 2)

    def test_paused_member(self) -> None:
        """A member that takes connections and then says nothing is given up for another."""
        deaf = MemoryTransport(self.cluster.clock, self.cluster.network)
        self.cluster.result(deaf.listen("deaf", lambda connection: connection.listen(silence)))
        client = self.make(["deaf", "a"])
        self.assertEqual(self.do(client.command(b"x")), 1)

    def test_another_cluster(self) -> None:
        """A client of another cluster is told at once, not after its time-out."""
        stranger = self.make(["a"], "another cluster")
        with self.assertRaises(RemoteError) as caught:
            self.do(stranger.query(b"", timeout=2))
        self.assertEqual(caught.exception.remote_code, HandshakeError.code)
