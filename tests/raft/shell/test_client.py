"""A client that is no member: it finds the leader and repeats safely."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ood.raft.client import RaftClient
from ood.raft.errors import HandshakeError, OutcomeUnknownError, RemoteError
from ood.raft.memory import MemoryTransport
from ood.testing.raft_cluster import MemoryCluster


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

    def test_another_cluster(self) -> None:
        """A client of another cluster is told at once, not after its time-out."""
        stranger = self.make(["a"], "another cluster")
        with self.assertRaises(RemoteError) as caught:
            self.do(stranger.query(b"", timeout=2))
        self.assertEqual(caught.exception.remote_code, HandshakeError.code)
