"""Real workers: how connections reach them, and what happens when they fail."""

from __future__ import annotations

import json
import os
import pwd
import socket
from pathlib import Path
from typing import Any

from ood.errors import UnavailableError, WorkerError
from tests.integration.workers import WorkersTestCase, run
from tests.procmon.support import (
    SERVER,
    Client,
    alive,
    get,
    in_thread,
    node_runtimes,
    until,
)
from tests.support.ports import free_port


class HandOffTests(WorkersTestCase):
    """Connections reach workers in each of the ways."""

    if not node_runtimes():
        skip = "there is no node"

    async def check(self, via: str, **changes: Any) -> None:
        await self.run_app(instances=2, **changes)
        said = await self.answers()
        self.assertEqual({one["instance"] for one in said}, {"0", "1"})
        workers = self.monitor.status("app").workers
        self.assertEqual([worker.via for worker in workers], [via, via])
        self.assertTrue(self.monitor.takes_sockets("app", alone=True))
        self.assertEqual(self.monitor.takes_sockets("app", alone=False), via == "guard")

    @run
    async def test_guard(self) -> None:
        """Workers join and answer, both get their share, and PORT is bound by none."""
        await self.check("guard")
        with socket.socket() as sock:
            self.assertNotEqual(sock.connect_ex(("127.0.0.1", self.app.port)), 0)

    @run
    async def test_cluster_channel(self) -> None:
        """Workers without our code take part by Node's own channel."""
        await self.check("cluster", handoff="cluster")

    @run
    async def test_npm(self) -> None:
        """A worker below npm start joins, too, and its whole tree ends with it."""
        self.write("package.json", json.dumps({"scripts": {"start": "node server.js"}}))
        await self.check("guard", interpreter="npm", script=None)
        pids = [one["pid"] for one in await self.answers()]
        await self.run_app(running=False)
        self.assertFalse([pid for pid in pids if alive(pid)])

    @run
    async def test_unfit(self) -> None:
        """Where the guard can't work (the permission model), the channel is used unasked."""
        await self.check("cluster", node_args=("--experimental-permission", "--allow-fs-read=*"))

    @run
    async def test_permission_in_guard(self) -> None:
        """A guard that says it is unfit gets its worker replaced by one on the channel."""
        self.write("break.cjs", "process.binding = () => { throw new Error('no bindings'); };")
        options = f"--require {self.cwd}/break.cjs"
        await self.check("cluster", env={"NODE_OPTIONS": options})
        self.assertIn("guard can't work", self.texts())

    @run
    async def test_pipes(self) -> None:
        """A pipe into a joined worker carries requests, with the client's address."""
        await self.run_app()
        upstream = self.monitor.connect("app")
        assert upstream is not None
        self.addCleanup(upstream.sock.close)
        self.assertTrue(upstream.pipe)
        self.assertTrue(upstream.worker.accepting)
        upstream.sock.setblocking(True)
        upstream.sock.settimeout(60)
        upstream.sock.sendall(b"GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n")
        answer = await in_thread(upstream.sock.recv, 65536)
        self.assertIn(b" 200 ", answer)
        await self.run_app(running=False)
        self.assertFalse(upstream.worker.accepting)

    @run
    async def test_own_cluster(self) -> None:
        """An app that forks its own cluster is one worker with several members."""
        self.write(
            "forks.js",
            "const cluster = require('cluster');\n"
            "if (cluster.isPrimary) { cluster.fork(); cluster.fork(); }\n"
            "else { require('./server.js'); }",
        )
        await self.run_app(script="forks.js")
        await until(lambda: len(self.monitor._rosters["app"].sockets) == 2)
        pids = {one["pid"] for one in await self.answers()}
        self.assertEqual(len(pids), 2)
        await self.run_app(running=False)
        self.assertFalse([pid for pid in pids if alive(pid)])

    @run
    async def test_extra_port(self) -> None:
        """A second server is reached on its own port of the loopback address."""
        extra = free_port()
        self.write(
            "two.js",
            "const http = require('http');\n"
            "const own = (q, r) => r.setHeader('Content-Length', 5).end('extra');\n"
            f"http.createServer(own).listen({extra});" + SERVER.replace("const http", "var h2"),
        )
        await self.run_app(script="two.js")
        await until(lambda: self.monitor._apps["app"].extras.ports)
        self.assertEqual(await in_thread(get, extra), "extra")
        self.assertIn("instance", await in_thread(get, self.edge.port))

    @run
    async def test_program(self) -> None:
        """A program that is not Node is reached on a port of its own."""
        self.write(
            "serve",
            "#!/usr/bin/env python3\n"
            "import http.server, os\n"
            "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])),"
            " http.server.SimpleHTTPRequestHandler).serve_forever()\n",
            0o755,
        )
        await self.run_app(script="serve", interpreter="none", instances=2)
        self.assertFalse(self.monitor.takes_sockets("app", alone=True))
        upstream = self.monitor.connect("app")
        assert upstream is not None
        self.addCleanup(upstream.sock.close)
        self.assertFalse(upstream.pipe)
        upstream.sock.settimeout(60)
        upstream.sock.sendall(b"GET /serve HTTP/1.0\r\n\r\n")
        self.assertIn(b"200", await in_thread(upstream.sock.recv, 100))

    @run
    async def test_environment(self) -> None:
        """PORT, NODE_ENV, NODE_APP_INSTANCE and the app's own variables arrive; others don't."""
        os.environ["OOD_TEST_SECRET"] = "1"
        self.addCleanup(os.environ.pop, "OOD_TEST_SECRET")
        self.write("server.js", "console.log(JSON.stringify(process.env));" + SERVER)
        await self.run_app(env={"COLOR": "blue"})
        env = json.loads(self.logs.tail("app", 10, "out")[0].text)
        self.assertEqual(env["PORT"], str(self.app.port))
        self.assertEqual((env["NODE_ENV"], env["NODE_APP_INSTANCE"]), ("production", "0"))
        self.assertEqual(env["COLOR"], "blue")
        self.assertNotIn("OOD_TEST_SECRET", env)

    @run
    async def test_symbolic_link(self) -> None:
        """Where a linked directory leads is found out at each start."""
        for name in ("one", "two"):
            (self.cwd / name).mkdir()
            self.write(f"{name}/server.js", f"console.log('release {name}');" + SERVER)
        link = self.home / "current"
        link.symlink_to(self.cwd / "one")
        await self.run_app(cwd=str(link))
        link.unlink()
        link.symlink_to(self.cwd / "two")
        await self.monitor.restart("app")
        self.assertIn("release two", self.texts())


class EveryNodeTests(WorkersTestCase):
    """The ways of the connections in each Node that is there."""

    if not node_runtimes():
        skip = "there is no node"

    @run
    async def test_every_node(self) -> None:
        """Guard, channel and a rolling restart work in each Node."""
        for runtime in node_runtimes():
            self.monitor._context.runtime = runtime
            for handoff, via in (("auto", "guard"), ("cluster", "cluster")):
                await self.run_app(running=True, handoff=handoff)
                self.assertEqual(self.monitor.status("app").workers[0].via, via, runtime.node())
                await self.answers(2)
                await self.monitor.restart("app")
                await self.answers(2)
                await self.run_app(running=False)


class StartTests(WorkersTestCase):
    """Starts that fail say why."""

    if not node_runtimes():
        skip = "there is no node"

    async def failure(self, **changes: Any) -> WorkerError:
        try:
            await self.run_app(**changes)
        except WorkerError as error:
            return error
        raise AssertionError("it started")

    @run
    async def test_syntax_error(self) -> None:
        """A syntax error fails at once, with exit status and the lines that name the place."""
        self.write("server.js", "const a = ;\n")
        error = await self.failure()
        self.assertIn("exited with status 1", str(error))
        self.assertIn("SyntaxError", "\n".join(error.log))
        unavailable = self.monitor.when_available("app")
        self.converge(running=False)
        await self.assertFailure(unavailable, UnavailableError)

    @run
    async def test_never_listens(self) -> None:
        """An app that never listens fails after listenTimeout."""
        self.write("server.js", "setInterval(() => {}, 1000);")
        error = await self.failure(listen_timeout=400)
        self.assertIn("did not listen", str(error))

    @run
    async def test_never_ready(self) -> None:
        """With waitReady, listening alone is not enough."""
        error = await self.failure(listen_timeout=5000, wait_ready=True)
        self.assertIn("did not say that it is ready", str(error))

    @run
    async def test_ready(self) -> None:
        """process.send('ready') counts from a direct child and from one below npm."""
        self.write("server.js", SERVER + "setTimeout(() => process.send('ready'), 100);")
        self.write("package.json", json.dumps({"scripts": {"start": "node server.js"}}))
        await self.run_app(wait_ready=True)
        await self.run_app(running=False)
        await self.run_app(running=True, interpreter="npm", script=None)

    @run
    async def test_missing_script(self) -> None:
        """A script that is not there is named."""
        error = await self.failure(script="nothing.js")
        self.assertIn("nothing.js", str(error))
        self.assertIn("No such file", str(error))

    @run
    async def test_bad_release(self) -> None:
        """A restart with a broken app fails with the reason; the old workers go on serving."""
        await self.run_app(instances=2)
        before = self.pids()
        self.write("server.js", "throw new Error('broken release');")
        try:
            await self.monitor.restart("app")
        except WorkerError as error:
            self.assertIn("broken release", "\n".join(error.log))
        else:
            self.fail("the restart went well")
        self.assertEqual(self.pids(), before)
        self.assertEqual({one["pid"] for one in await self.answers()}, set(before))

    @run
    async def test_roll_keeps_connections(self) -> None:
        """A restart moves idle keep-alive connections to the new workers, none is closed."""
        await self.run_app(instances=2)
        clients = [await in_thread(Client, self.edge.port) for _ in range(10)]
        before = {json.loads(await in_thread(client.get))["pid"] for client in clients}
        await self.monitor.restart("app")
        after = {json.loads(await in_thread(client.get))["pid"] for client in clients}
        self.assertFalse(before & after)
        self.assertGreaterEqual(self.edge.adopted, 10)
        for client in clients:
            client.close()

    @run
    async def test_roll_finishes_requests(self) -> None:
        """A request that is being answered when its worker is replaced gets its answer."""
        await self.run_app()
        client = await in_thread(Client, self.edge.port)
        await in_thread(client.get)
        slow = in_thread(client.get, "/?slow=700")
        await self.monitor.restart("app")
        self.assertIn("pid", await slow)
        client.close()

    @run
    async def test_scale(self) -> None:
        """Scaling keeps the workers that stay, and lets the newest go."""
        await self.run_app(instances=3)
        before = self.pids()
        await self.run_app(instances=1)
        self.assertEqual(self.pids(), before[:1])
        await until(lambda: len(self.monitor.status("app").workers) == 1)
        self.assertEqual([pid for pid in before if alive(pid)], before[:1])


class UserTests(WorkersTestCase):
    """Workers of other users."""

    if not node_runtimes():
        skip = "there is no node"
    elif os.getuid() != 0:
        skip = "only root can run workers as another user"

    @staticmethod
    def somebody() -> pwd.struct_passwd:
        """Return a user with supplementary groups if there is one, else nobody."""
        others = [entry for entry in pwd.getpwall() if entry.pw_uid not in (0, 65534)]
        several = (one for one in others if len(os.getgrouplist(one.pw_name, one.pw_gid)) > 1)
        return next(several, pwd.getpwnam("nobody"))

    @run
    async def test_user(self) -> None:
        """The worker has the user's id and just that user's groups, and joins all the same."""
        user = self.somebody()
        await self.run_app(user=user.pw_name)
        (pid,) = self.pids()
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        self.assertEqual(fields["Uid"].split(), [str(user.pw_uid)] * 4)
        self.assertEqual(fields["Gid"].split(), [str(user.pw_gid)] * 4)
        groups = {int(number) for number in fields["Groups"].split()}
        self.assertEqual(groups, set(os.getgrouplist(user.pw_name, user.pw_gid)))
        await self.answers(2)

    @run
    async def test_directory_of_another(self) -> None:
        """A directory that the user can't enter is named before anything is started."""
        self.cwd.chmod(0o700)
        try:
            await self.run_app(user="nobody")
        except WorkerError as error:
            self.assertIn(f"can't enter {self.cwd}", str(error))
        else:
            self.fail("it started")

    @run
    async def test_sockets_belong_to_user(self) -> None:
        """Nobody but the app's user can reach its sockets."""
        await self.run_app(user="nobody")
        (directory,) = (self.home / "run").glob("app.*")
        status = directory.stat()
        self.assertEqual((status.st_uid, status.st_mode & 0o777), (65534, 0o700))


class WebSocketTests(WorkersTestCase):
    """Connections that end only by themselves."""

    if not node_runtimes():
        skip = "there is no node"

    UPGRADE = (
        b"GET / HTTP/1.1\r\nHost: app.localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )

    async def connect(self) -> socket.socket:
        """Start an app that upgrades connections; return one."""
        self.write(
            "server.js",
            "const http = require('http');\n"
            "const server = http.createServer((q, r) => r.end('x'));\n"
            "server.on('upgrade', (q, s) => { s.on('data', (d) => s.write(d));\n"
            "  s.write('HTTP/1.1 101 Go\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
            "\\r\\n'); });\n"
            "server.listen(process.env.PORT);",
        )
        await self.run_app(kill_timeout=4000)
        sock = socket.create_connection(("127.0.0.1", self.edge.port), 60)
        self.addCleanup(sock.close)
        sock.sendall(self.UPGRADE)
        self.assertIn(b"101", await in_thread(sock.recv, 1000))
        return sock

    @run
    async def test_stays(self) -> None:
        """A restart leaves a WebSocket where it is until the time is up."""
        sock = await self.connect()
        done = self.monitor.restart("app")
        await until(lambda: "draining" in {one.state for one in self.monitor.status("app").workers})
        sock.sendall(b"echo")
        self.assertEqual(await in_thread(sock.recv, 1000), b"echo")
        await done
        self.assertEqual(await in_thread(self.until_end, sock), b"\x88\x02\x03\xf4")

    @run
    async def test_stop(self) -> None:
        """A stop does not wait for it: there is nobody who would go on serving it."""
        sock = await self.connect()
        self.converge(kill_timeout=60_000)
        await self.run_app(running=False)
        self.assertEqual(await in_thread(self.until_end, sock), b"\x88\x02\x03\xf4")

    @staticmethod
    def until_end(sock: socket.socket) -> bytes:
        data = b""
        while piece := sock.recv(1000):
            data += piece
        return data
