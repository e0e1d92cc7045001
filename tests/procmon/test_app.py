"""An app's workers: started, replaced, restarted, stopped; on a machine in memory."""

from __future__ import annotations

import socket

from ood.errors import UnavailableError, WorkerError
from ood.model.status import AppStatus
from ood.procmon.app import DEPENDENCIES_SECONDS, LOOK_AGAIN_SECONDS
from ood.procmon.core.restart import DELAY_MAX_SECONDS
from ood.procmon.report import app_status
from ood.procmon.waiters import AVAILABLE_SECONDS
from ood.procmon.workers.resources import Resources, Versions
from tests.procmon.machine import ContainerTestCase, Node


class LifeTests(ContainerTestCase):
    """From start to stop."""

    def test_start(self) -> None:
        """An app is settled when every worker listens, not before."""
        self.converge(instances=2)
        settled = self.container.when_settled()
        first, second = self.machine.nodes
        first.listen()
        self.machine.pump()
        self.assertNoResult(settled)
        self.assertEqual(self.states(), ["online", "launching"])
        second.listen()
        self.machine.pump()
        self.successResultOf(settled)
        instances = [node.env["NODE_APP_INSTANCE"] for node in self.machine.nodes]
        self.assertEqual(instances, ["0", "1"])

    def test_wait_ready(self) -> None:
        """With waitReady a worker that listens waits for its own word."""
        self.converge(wait_ready=True)
        (node,) = self.machine.nodes
        node.listen()
        self.machine.pump()
        self.assertEqual(self.states(), ["launching"])
        node.say("ready")
        self.machine.pump()
        self.assertEqual(self.states(), ["online"])

    def test_stop(self) -> None:
        """A stop asks the workers to disconnect, and fires when they are gone."""
        (node,) = self.start()
        self.converge(running=False)
        settled = self.container.when_settled()
        self.clock.advance(0.1)
        self.assertNoResult(settled)
        node.hear()
        self.assertEqual(node.heard[-1]["act"], "disconnect")
        node.exit()
        self.clock.advance(1)
        self.successResultOf(settled)

    def test_late(self) -> None:
        """Who does not listen in time is ended, and started again after a pause."""
        self.converge(listen_timeout=5000)
        settled = self.container.when_settled()
        self.clock.advance(5)
        error = self.failureResultOf(settled, WorkerError).value
        self.assertIn("did not listen on a port within 5 s (see: ood why", str(error))
        self.assertEqual(self.states(), ["waiting-restart"])
        self.clock.advance(1)
        self.assertEqual(len(self.machine.nodes), 2)

    def test_scale(self) -> None:
        """Fewer workers: the newest drain, the others are not touched."""
        nodes = self.start(3)
        self.converge(instances=1)
        self.assertEqual(self.states(), ["online"])
        self.assertEqual({worker.state for worker in self.container.leaving}, {"draining"})
        self.clock.advance(0.1)
        for node in nodes:
            node.hear()
        asked = [node.heard[-1].get("act") == "disconnect" for node in nodes]
        self.assertEqual(asked, [False, True, True])

    def test_depends_on(self) -> None:
        """The first worker waits for the apps that this one needs; its successors don't."""
        missing = ["api"]
        self.container.missing = lambda: missing
        self.converge()
        self.clock.advance(10)
        self.assertEqual((self.states(), len(self.machine.nodes)), (["launching"], 0))
        self.assertIn("waits for api", self.container.slots[0].reason)
        missing.clear()
        self.clock.advance(LOOK_AGAIN_SECONDS)
        (node,) = self.machine.nodes
        missing.append("api")
        node.listen()
        self.machine.pump()
        self.assertEqual(self.container.slots[0].reason, "")
        self.clock.advance(60)
        node.exit(1)
        self.assertEqual(len(self.machine.nodes), 2)

    def test_depends_in_vain(self) -> None:
        """It does not wait for ever, and can be stopped meanwhile."""
        self.container.missing = lambda: ["api"]
        self.converge()
        self.converge(running=False)
        self.clock.advance(60)
        self.assertEqual(len(self.machine.nodes), 0)
        self.converge(running=True)
        self.clock.pump([1] * int(DEPENDENCIES_SECONDS))
        self.assertEqual(len(self.machine.nodes), 1)

    def test_changed_settings(self) -> None:
        """Settings that workers run with make them stale; others don't."""
        self.start()
        (worker,) = self.container.workers()
        self.converge(domains=("a.example",), kill_timeout=5)
        self.assertFalse(self.container.stale(worker))
        self.converge(env={"A": "1"})
        self.assertTrue(self.container.stale(worker))
        self.assertEqual(self.states(), ["online"])


class DeathTests(ContainerTestCase):
    """When workers die."""

    def test_replaced_at_once(self) -> None:
        """A worker that ran long is replaced within the same turn, and its number is kept."""
        first, _ = self.start(2)
        self.clock.advance(60)
        first.exit(None, 9)
        self.assertEqual(len(self.machine.nodes), 3)
        self.assertEqual(self.machine.nodes[-1].env["NODE_APP_INSTANCE"], "0")
        self.assertEqual(self.container.slots[0].restarts, 1)
        self.assertIn("was killed by SIGKILL after 1 min", self.logs.texts[-1])

    def test_dies_at_boot(self) -> None:
        """The start fails at once with the reason and the last lines; it is tried on."""
        self.converge()
        settled = self.container.when_settled()
        (node,) = self.machine.nodes
        node.protocol.errReceived(b"SyntaxError: no\n    at line 1")
        node.exit(1)
        error = self.failureResultOf(settled, WorkerError).value
        self.assertIn("exited with status 1", error.message)
        self.assertIn("SyntaxError: no", error.log)
        self.assertIn("    at line 1", error.log)
        self.failureResultOf(self.container.when_settled(), WorkerError)
        self.clock.advance(0.2)
        self.machine.nodes[-1].listen()
        self.machine.pump()
        self.successResultOf(self.container.when_settled())

    def status(self) -> AppStatus:
        resources = Resources(self.clock, lambda: ())
        return app_status(self.container, (), resources, Versions())

    def test_errored(self) -> None:
        """After maxRestarts it is errored, and tried at the longest pause for ever."""
        self.converge(max_restarts=3)
        for _ in range(3):
            self.machine.nodes[-1].exit(1)
            self.clock.advance(1)
        self.assertEqual(self.states(), ["errored"])
        self.failureResultOf(self.container.when_available(), UnavailableError)
        for _ in range(3):
            before = len(self.machine.nodes)
            self.clock.advance(DELAY_MAX_SECONDS)
            self.assertEqual(len(self.machine.nodes), before + 1)
            self.machine.nodes[-1].exit(1)
            self.assertEqual(self.states(), ["errored"])

    def test_reason(self) -> None:
        """How the last one died is said until somebody answers, also while the next one boots."""
        self.converge()
        self.machine.nodes[-1].exit(3)
        said = []
        for _ in range(2):
            (worker,) = self.status().workers
            said.append((worker.state, worker.reason))
            self.clock.advance(1)
        self.assertEqual([state for state, _ in said], ["waiting-restart", "launching"])
        for _, reason in said:
            self.assertIn("exited with status 3", reason)
        self.machine.nodes[-1].listen()
        self.machine.pump()
        (worker,) = self.status().workers
        self.assertEqual((worker.state, worker.reason), ("online", ""))

    def test_restart_delay(self) -> None:
        """With restartDelay even one that ran long is replaced only after that pause."""
        (node,) = self.start()
        self.converge(restart_delay=3000)
        self.clock.advance(60)
        node.exit(1)
        self.assertEqual(self.states(), ["waiting-restart"])
        self.clock.advance(2.9)
        self.assertEqual(len(self.machine.nodes), 1)
        self.clock.advance(0.1)
        self.assertEqual(len(self.machine.nodes), 2)

    def test_left_stopped(self) -> None:
        """Without autorestart a worker that exits stays down."""
        (node,) = self.start()
        self.converge(autorestart=False)
        node.exit(0)
        self.clock.advance(60)
        self.assertEqual((self.states(), len(self.machine.nodes)), (["stopped"], 1))
        self.failureResultOf(self.container.when_settled(), WorkerError)

    def test_retry(self) -> None:
        """Who asks for a start does not hear of the last failure, but of a new try."""
        self.converge()
        self.machine.nodes[-1].exit(3)
        self.assertEqual(self.states(), ["waiting-restart"])
        self.failureResultOf(self.container.when_settled(), WorkerError)
        self.container.retry()
        settled = self.container.when_settled()
        self.assertNoResult(settled)
        self.machine.nodes[-1].listen()
        self.machine.pump()
        self.successResultOf(settled)
        self.assertEqual(len(self.machine.nodes), 2)
        self.clock.advance(60)
        self.container.retry()
        self.assertEqual(len(self.machine.nodes), 2)

    def test_retry_left_stopped(self) -> None:
        """A worker that was left stopped is started again, too; a bad one fails anew."""
        (node,) = self.start()
        self.converge(autorestart=False)
        node.exit(0)
        self.container.retry()
        settled = self.container.when_settled()
        self.machine.nodes[-1].exit(4)
        error = self.failureResultOf(settled, WorkerError).value
        self.assertIn("status 4", str(error))

    def test_stop_while_waiting(self) -> None:
        """A stop ends the waiting for the next try."""
        self.converge()
        self.machine.nodes[-1].exit(1)
        self.converge(running=False)
        self.clock.advance(60)
        self.assertEqual(len(self.machine.nodes), 1)

    def test_cwd_missing(self) -> None:
        """What can't even be started fails the same way, and says what to do."""
        self.converge(cwd="/nowhere")
        error = self.failureResultOf(self.container.when_settled(), WorkerError).value
        self.assertIn("/nowhere: No such file or directory", str(error))
        self.assertIn("ood config", str(error))


class WaitingTests(ContainerTestCase):
    """Those who wait for a worker."""

    def test_available(self) -> None:
        """A request waits until a worker answers."""
        self.converge()
        available = self.container.when_available()
        self.assertNoResult(available)
        self.machine.nodes[0].listen()
        self.machine.pump()
        self.successResultOf(available)

    def test_patience(self) -> None:
        """It does not wait for ever, and may leave earlier."""
        self.converge()
        late, gone = self.container.when_available(), self.container.when_available()
        gone.addErrback(lambda _: None)
        gone.cancel()
        self.clock.advance(AVAILABLE_SECONDS)
        self.failureResultOf(late, UnavailableError)

    def test_stopped(self) -> None:
        """Nobody waits for an app that is stopped."""
        self.converge(running=False)
        self.failureResultOf(self.container.when_available(), UnavailableError)


class DispatchTests(ContainerTestCase):
    """Connections of dead, refusing and blocked workers."""

    def setUp(self) -> None:
        super().setUp()
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.addCleanup(self.listener.close)
        self.returned: list[socket.socket] = []

    def connection(self) -> tuple[socket.socket, socket.socket]:
        """Return a client with a request under way, and our end."""
        client = socket.create_connection(self.listener.getsockname())
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        ours, _ = self.listener.accept()
        self.addCleanup(client.close)
        return client, ours

    def refused(self, app: str, sock: socket.socket) -> None:
        self.returned.append(sock)

    def hand_off(self) -> socket.socket:
        _, ours = self.connection()
        self.assertTrue(self.container.roster.hand_off(ours, self.refused))
        return ours

    def counts(self, nodes: list[Node]) -> list[int]:
        return [len(node.hear()) for node in nodes]

    def acknowledge(self, node: Node, accepted: bool = True) -> None:
        for message in node.hear():
            node.say({"cmd": "NODE_CLUSTER", "ack": message["seq"], "accepted": accepted})
        node.heard.clear()
        self.machine.pump()

    def test_fewest_unacknowledged(self) -> None:
        """Who does not acknowledge gets no more than others."""
        nodes = self.start(2)
        self.hand_off()
        busy, other = nodes if nodes[0].hear() else nodes[::-1]
        for _ in range(5):
            self.hand_off()
            self.acknowledge(other)
        self.assertEqual(len(busy.hear()), 1)

    def test_closed_when_acknowledged(self) -> None:
        """Our copy is kept until the worker has the connection."""
        (node,) = self.start()
        ours = self.hand_off()
        self.assertGreaterEqual(ours.fileno(), 0)
        self.acknowledge(node)
        self.assertEqual(ours.fileno(), -1)

    def test_death(self) -> None:
        """What a dead worker had not acknowledged goes to the others."""
        nodes = self.start(2)
        for _ in range(6):
            self.hand_off()
        self.assertEqual(self.counts(nodes), [3, 3])
        nodes[0].exit(None, 9)
        self.machine.pump()
        self.assertEqual(len(nodes[1].hear()), 6)

    def test_death_unnoticed(self) -> None:
        """Who can't be given anything counts as gone before its end is seen: others wait."""
        first, second = self.start(2)
        first.channel.close()
        second.channel.close()
        _, ours = self.connection()
        self.addCleanup(ours.close)
        self.assertFalse(self.container.roster.hand_off(ours, self.refused))
        self.assertEqual(self.container.roster.streams, [])
        self.assertIsNone(self.container.roster.connect())
        first.exit(None, 9)
        second.exit(None, 9)

    def test_death_of_the_last(self) -> None:
        """With nobody left the sockets are the edge's again."""
        (node,) = self.start()
        ours = self.hand_off()
        node.exit(None, 9)
        self.machine.pump()
        self.assertEqual(self.returned, [ours])
        ours.close()

    def test_begun_request(self) -> None:
        """A connection from which the dead worker had read is closed: its rest is no request."""
        nodes = self.start(2)
        ours = self.hand_off()
        owner, other = nodes if nodes[0].hear() else nodes[::-1]
        theirs = socket.socket(fileno=owner.got.pop())
        theirs.recv(5)
        theirs.close()
        owner.exit(None, 9)
        self.machine.pump()
        self.assertEqual((other.hear(), self.returned, ours.fileno()), ([], [], -1))

    def test_refused_once(self) -> None:
        """Who refused a connection does not get it again while there is another."""
        nodes = self.start(2)
        self.hand_off()
        refuser, other = nodes if nodes[0].hear() else nodes[::-1]
        self.acknowledge(refuser, accepted=False)
        self.assertEqual(self.counts([refuser, other]), [0, 1])

    def test_refusal(self) -> None:
        """A connection that a worker refuses goes to another; if all do, back to the edge."""
        nodes = self.start(2)
        ours = self.hand_off()
        for _ in range(10):
            for node in nodes:
                self.acknowledge(node, accepted=False)
        self.assertEqual(self.returned, [ours])
        ours.close()

    def test_nobody(self) -> None:
        """Without a worker the socket stays with the caller."""
        self.converge()
        _, ours = self.connection()
        self.addCleanup(ours.close)
        self.assertFalse(self.container.roster.hand_off(ours, self.refused))
        self.assertGreaterEqual(ours.fileno(), 0)

    def test_connect_fewest_pipes(self) -> None:
        """Upstream connections go where the proxy has the fewest."""
        self.start(2)
        seen: list[int] = []
        for _ in range(4):
            upstream = self.container.roster.connect()
            assert upstream is not None
            self.addCleanup(upstream.sock.close)
            upstream.worker.pipes += 1
            seen.append(upstream.worker.instance)
        self.assertEqual(sorted(seen), [0, 0, 1, 1])
