"""Real workers that die, are killed, or don't want to end."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from ood.errors import WorkerError
from ood.procmon.system import processes
from ood.procmon.workers.worker import WorkerProcess
from tests.integration.workers import WorkersTestCase, run
from tests.procmon.support import (
    SERVER,
    Client,
    alive,
    in_thread,
    node_runtimes,
    until,
)


class DeathTests(WorkersTestCase):
    """What workers' deaths do, and what they don't."""

    if not node_runtimes():
        skip = "there is no node"

    @run
    async def test_kill_under_load(self) -> None:
        """SIGKILL of one worker fails no request of connections that others hold."""
        await self.run_app(instances=2)
        clients = [await in_thread(Client, self.edge.port) for _ in range(8)]
        pids = [json.loads(await in_thread(client.get))["pid"] for client in clients]
        victim = pids[0]
        others = [client for client, pid in zip(clients, pids, strict=True) if pid != victim]
        self.assertTrue(others)
        load = gatherResults([in_thread(self._ask, client, 200) for client in others])
        os.kill(victim, signal.SIGKILL)
        self.assertEqual(await load, [200] * len(others))
        await until(lambda: self.monitor.status("app").state == "online")
        self.assertIn("SIGKILL", self.texts())
        self.assertEqual(len({one["pid"] for one in await self.answers()} - {victim}), 2)
        for client in clients:
            client.close()

    @staticmethod
    def _ask(client: Client, times: int) -> int:
        for _ in range(times):
            client.get()
        return times

    @run
    async def test_stopped_worker(self) -> None:
        """Connections that a stopped worker never took are answered by the other one."""
        await self.run_app(instances=2)
        first, second = self.pids()
        os.kill(first, signal.SIGSTOP)
        os.kill(second, signal.SIGSTOP)
        clients = [await in_thread(Client, self.edge.port) for _ in range(40)]
        for client in clients:
            client.send()
        handed = self.monitor._rosters["app"].sockets
        await until(lambda: sum(len(member.pending) for member in handed) == 40)
        self.assertGreater(min(len(member.pending) for member in handed), 10)
        os.kill(second, signal.SIGCONT)
        os.kill(first, signal.SIGKILL)
        texts = await gatherResults([in_thread(client.answer) for client in clients])
        self.assertEqual(len(texts), 40)
        self.assertNotIn(str(first), {str(json.loads(text)["pid"]) for text in texts})
        for client in clients:
            client.close()

    @run
    async def test_only_worker_stopped(self) -> None:
        """Connections of the only worker, killed, wait for the one that replaces it."""
        await self.run_app()
        (pid,) = self.pids()
        os.kill(pid, signal.SIGSTOP)
        clients = [await in_thread(Client, self.edge.port) for _ in range(5)]
        for client in clients:
            client.send()
        await until(lambda: len(self.monitor._rosters["app"].sockets[0].pending) == 5)
        os.kill(pid, signal.SIGKILL)
        texts = await gatherResults([in_thread(client.answer) for client in clients])
        self.assertEqual(len(texts), 5)
        self.assertEqual(self.edge.refusals, 5)
        for client in clients:
            client.close()

    @run
    async def test_orphans(self) -> None:
        """A child in a session of its own ends with its worker."""
        self.write(
            "server.js",
            "const child = require('child_process').spawn('sleep', ['600'], {detached: true});\n"
            "console.log('child', child.pid);" + SERVER,
        )
        await self.run_app()
        line = next(line for line in self.texts().splitlines() if line.startswith("child"))
        pid = int(line.split()[1])
        self.assertTrue(alive(pid))
        await self.run_app(running=False)
        self.assertFalse(alive(pid))

    @run
    async def test_children_of_the_killed(self) -> None:
        """A child that outlives a killed worker, and never joined, is ended."""
        self.write(
            "server.js",
            "const child = require('child_process').spawn('sleep', ['600']);\n"
            "console.log('child', child.pid);" + SERVER,
        )
        await self.run_app()
        line = next(line for line in self.texts().splitlines() if line.startswith("child"))
        os.kill(self.pids()[0], signal.SIGKILL)
        await until(lambda: not alive(int(line.split()[1])))

    @run
    async def test_killed_launcher(self) -> None:
        """SIGKILL of npm, not of its child: nothing of the old tree is left behind."""
        self.write("package.json", json.dumps({"scripts": {"start": "node server.js"}}))
        await self.run_app(interpreter="npm", script=None)
        (launcher,) = self.pids()
        (said,) = await self.answers(1)
        os.kill(launcher, signal.SIGKILL)
        await until(lambda: not alive(said["pid"]))
        await until(lambda: self.pids() not in ([], [launcher]))
        self.assertNotEqual((await self.answers(1))[0]["pid"], said["pid"])

    @run
    async def test_ignores_stop_signal(self) -> None:
        """A worker that ignores SIGTERM is killed after killTimeout."""
        self.write("server.js", "process.on('SIGTERM', () => {});" + SERVER)
        await self.run_app(kill_timeout=600)
        pids = self.pids()
        await self.run_app(running=False)
        self.assertFalse([pid for pid in pids if alive(pid)])

    @run
    async def test_misbehaving_process(self) -> None:
        """A process that breaks the protocol costs its own worker, and nothing else."""
        self.write(
            "server.js",
            "const net = require('net');\n"
            "if (process.env.NODE_APP_INSTANCE === '1') setTimeout(() => {\n"
            "  const socket = net.connect(process.env.OOD_JOIN);\n"
            "  const hello = {ood: 'hello', v: 1, token: process.env.OOD_TOKEN, pid: 1};\n"
            '  socket.write(JSON.stringify(hello) + \'\\n\' + \'{"ood":"ack","n":99}\\n\');\n'
            "}, 200);" + SERVER,
        )
        await self.run_app(instances=2)
        first = self.pids()[0]
        await until(lambda: "broke the join protocol" in self.texts())
        self.assertEqual((await self.answers(1))[0]["pid"], first)

    @run
    async def test_foreign_process(self) -> None:
        """A process that is no worker's is not let in, even if it knows a token."""
        await self.run_app()
        container = self.monitor._apps["app"]
        (worker,) = container.workers()
        (door,) = container._doors.values()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(door.join_path))
            sock.sendall(b'{"ood":"hello","v":1,"token":"%s","pid":1}\n' % worker.token.encode())
            sock.settimeout(60)
            self.assertEqual(await in_thread(sock.recv, 10), b"")
        self.assertIn("is no process of worker 0", self.texts())


class KillTests(WorkersTestCase):
    """SIGKILL at bad moments: nothing of a worker is left, and nobody waits for it for ever."""

    if not node_runtimes():
        skip = "there is no node"

    def setUp(self) -> None:
        super().setUp()
        self.clients: list[Client] = []

    def tearDown(self) -> Any:
        for client in self.clients:
            client.close()
        return super().tearDown()

    def occupy(self) -> Client:
        """Begin a request that takes longer than anything here."""
        client = Client(self.edge.port)
        self.clients.append(client)
        client.send("/?slow=60000")
        return client

    def worker(self) -> WorkerProcess:
        """Return the one worker that serves."""
        worker = self.monitor._apps["app"].slots[0].worker
        assert worker is not None and worker.pid is not None
        return worker

    async def draining(self) -> tuple[WorkerProcess, Deferred[None]]:
        """Restart an app in the middle of a request; return who drains, and the restart."""
        self.occupy()
        old = self.worker()
        await until(lambda: old.joined()[0].stats.in_flight == 1)
        restarted = self.monitor.restart("app")
        await until(lambda: old.state == "draining")
        return old, restarted

    async def check_gone(self, old: WorkerProcess) -> None:
        """Nothing of a worker is left, and nothing of the app waits for it."""
        container, rolls = self.monitor._apps["app"], self.monitor._rolls["app"]
        await until(lambda: old not in container.leaving)
        assert old.pid is not None
        self.assertEqual(processes.family(processes.table(), {old.pid}), [])
        self.assertEqual((old.state, old.members, container.fresh), ("stopped", [], None))
        await until(lambda: not rolls._running)
        self.assertEqual(rolls._waiters, {})
        ours = [member.worker.instance for member in container.roster.all]
        self.assertEqual(ours, [0])
        names = {path.name for path in (self.home / "run").glob("app.*/*")}
        watched = {f"last-{member.pid}" for member in container._joined()}
        self.assertEqual(names - watched, {"back.sock", "join.sock"})
        self.assertNotEqual((await self.answers(1))[0]["pid"], old.pid)

    @run
    async def test_in_a_drain(self) -> None:
        """A worker is killed while it finishes its requests: that is a death, with what it did."""
        await self.run_app(kill_timeout=30_000)
        old, restarted = await self.draining()
        await until(lambda: old.joined()[0].stats.slow)
        assert old.pid is not None
        os.kill(old.pid, signal.SIGKILL)
        await restarted
        await self.check_gone(old)
        (death,) = self.monitor.deaths("app").deaths
        self.assertEqual(death.reason, "was killed by SIGKILL while it was being stopped")
        self.assertEqual((death.cause, death.pid), ("killed", old.pid))
        self.assertEqual([one.path for one in death.requests], ["/"])
        self.assertIn(death.reason, self.texts())

    @run
    async def test_launcher_in_a_drain(self) -> None:
        """The same of npm, whose child would go on."""
        self.write("package.json", json.dumps({"scripts": {"start": "node server.js"}}))
        await self.run_app(interpreter="npm", script=None, kill_timeout=3000)
        old, restarted = await self.draining()
        (child,) = [member.pid for member in old.joined()]
        assert old.pid is not None
        os.kill(old.pid, signal.SIGKILL)
        await restarted
        await self.check_gone(old)
        self.assertFalse(alive(child))

    @run
    async def test_ignores_everything(self) -> None:
        """A worker that ignores SIGTERM, with a child that does, and a request without an end."""
        self.write(
            "server.js",
            "process.on('SIGTERM', () => {});\n"
            "const command = \"trap '' TERM; while :; do sleep 1; done\";\n"
            "require('child_process').spawn('sh', ['-c', command], {detached: true});" + SERVER,
        )
        await self.run_app(kill_timeout=1000)
        old, restarted = await self.draining()
        await restarted
        await self.check_gone(old)
        self.assertEqual(self.monitor.deaths("app").deaths, ())
        self.assertIn("did not end by SIGTERM within killTimeout (1 s)", self.texts())

    @run
    async def test_the_new_one(self) -> None:
        """The new worker of a restart is killed: the restart fails, the old one serves on."""
        await self.run_app()
        old = self.worker()
        self.write("server.js", f"setTimeout(() => {{ {SERVER} }}, 5000);")
        restarted = self.monitor.restart("app")
        container = self.monitor._apps["app"]
        await until(lambda: container.fresh is not None and container.fresh.pid)
        fresh = container.fresh
        assert fresh is not None and fresh.pid is not None
        os.kill(fresh.pid, signal.SIGKILL)
        try:
            await restarted
        except WorkerError as error:
            self.assertIn("was killed by SIGKILL", str(error))
        else:
            self.fail("it was restarted")
        await until(lambda: fresh not in container.leaving)
        self.assertIsNone(container.fresh)
        self.assertEqual((await self.answers(1))[0]["pid"], old.pid)
        self.assertEqual(self.monitor.deaths("app").deaths[0].cause, "killed")

    @run
    async def test_in_a_stop(self) -> None:
        """A worker is killed while the app is being stopped: the stop ends at once."""
        await self.run_app(kill_timeout=30_000)
        self.occupy()
        old = self.worker()
        await until(lambda: old.joined()[0].stats.in_flight == 1)
        self.converge(running=False)
        stopped = self.monitor.settled("app")
        await until(lambda: old.state == "draining")
        assert old.pid is not None
        os.kill(old.pid, signal.SIGKILL)
        await stopped
        self.assertFalse(alive(old.pid))
        (death,) = self.monitor.deaths("app").deaths
        self.assertEqual(death.signal, "SIGKILL")
        self.assertEqual(list((self.home / "run").glob("app.*")), [])
