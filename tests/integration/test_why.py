"""What is known of real workers that died, each in its own way."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from ood.errors import WorkerError
from ood.model.death import DeathReport
from ood.procmon.system.oomkills import OomKills
from tests.integration.workers import WorkersTestCase, run
from tests.procmon.support import Client, in_thread, node_runtimes, until
from tests.support.cgroup import MemoryLimit
from tests.support.ports import free_port

MEMORY_BYTES = 200 << 20
"""Enough for Node itself, and too little for an app that grows."""

CRASHING = """
const http = require('http');
console.log('begins');
const kept = [];
http.createServer((request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/throw') null.length;
  if (path === '/exit') process.exit(3);
  if (path === '/own') fail();
  if (path === '/reject') Promise.reject(new Error('password wrong'));
  if (path === '/heap') for (;;) kept.push(new Array(1000).fill({}));
  if (path === '/grow') for (;;) kept.push(Buffer.alloc(1 << 20, 1));
  if (path === '/abort') process.abort();
  if (path === '/end') process.kill(process.pid, 'SIGTERM');
  if (path === '/') response.setHeader('Content-Length', 2).end('ok');
}).listen(process.env.PORT);
function fail() {
  process.once('uncaughtException', (error) => { console.error('!', error); process.exit(1); });
  throw new RangeError('of my own');
}
"""


class WhyTestCase(WorkersTestCase):
    """An app that dies as it is asked to."""

    def setUp(self) -> None:
        super().setUp()
        self.clients: list[Client] = []
        self.write("server.js", CRASHING)

    def tearDown(self) -> Any:
        for client in self.clients:
            client.close()
        return super().tearDown()

    def send(self, path: str) -> Client:
        """Send a request; nobody waits for its answer."""
        client = Client(self.edge.port)
        self.clients.append(client)
        client.send(path)
        return client

    def deaths(self) -> tuple[DeathReport, ...]:
        return self.monitor.deaths("app").deaths

    async def died(self, count: int = 1) -> DeathReport:
        """Wait for the death of that number; return it once somebody serves again."""
        await until(lambda: len(self.deaths()) == count)
        await until(lambda: self.monitor.status("app").workers[0].state == "online")
        return self.deaths()[0]


class CrashTests(WhyTestCase):
    """Deaths in the middle of requests."""

    if not node_runtimes():
        skip = "there is no node"

    @run
    async def test_exception(self) -> None:
        """An exception is named with its place, and the requests in flight without secrets."""
        await self.run_app(instances=1, release="r1")
        self.send("/waits/for?token=secret")
        await self.answers(1)
        self.send("/throw?password=secret")
        death = await self.died()
        self.assertEqual((death.cause, death.exit_code, death.release), ("exception", 1, "r1"))
        self.assertIn("TypeError: Cannot read propert", death.error)
        self.assertIn(f" at {self.cwd}/server.js:7:", death.error)
        paths = [f"{one.method} {one.path}" for one in death.requests]
        self.assertEqual(sorted(paths), ["GET /throw", "GET /waits/for"])
        self.assertIn("begins", death.log)
        self.assertTrue(any("TypeError" in line for line in death.log))
        self.assertGreater(death.uptime_ms, 0)
        self.assertEqual(list((self.home / "run").glob("app.*/last-*")), [])

    @run
    async def test_other_ends(self) -> None:
        """A rejection, an own handler, a plain exit: each is told apart."""
        await self.run_app()
        seen = []
        for number, path in enumerate(("/reject", "/own", "/exit", "/end"), 1):
            self.send(path)
            death = await self.died(number)
            seen.append((death.cause, death.error.split(" at ")[0]))
            self.assertEqual([one.path for one in death.requests][:1], [path][: path != "/end"])
        self.assertEqual(
            seen,
            [
                ("exception", "Error: password wrong"),
                ("exception", "RangeError: of my own"),
                ("exit", ""),
                ("killed", ""),
            ],
        )

    @run
    async def test_pattern(self) -> None:
        """What was being served in several crashes in a row is named."""
        await self.run_app()
        for number in (1, 2, 3):
            self.send(f"/throw?attempt={number}")
            await self.died(number)
        pattern = self.monitor.deaths("app").pattern
        self.assertEqual(pattern, "GET /throw was being served in the last 3 crashes")

    @run
    async def test_heap(self) -> None:
        """V8 without memory is recognised, and its memory is known."""
        await self.run_app(node_args=("--max-old-space-size=30",))
        self.send("/heap")
        death = await self.died()
        self.assertEqual((death.cause, death.signal), ("heap", "SIGABRT"))
        self.assertIn("nodeArgs", death.advice)

    @run
    async def test_oom(self) -> None:
        """A worker that the kernel kills for memory is told from one that somebody kills."""
        self.monitor._context.oom = OomKills()
        group = MemoryLimit(MEMORY_BYTES)
        self.addCleanup(group.remove)
        await self.run_app()
        (worker,) = self.monitor._apps["app"].workers()
        assert worker.pid is not None
        group.add(worker.pid)
        self.send("/grow")
        death = await self.died()
        self.assertEqual((death.cause, death.signal), ("oom-kill", "SIGKILL"))
        self.assertIn("the kernel killed it because memory ran out", death.explanation)
        self.assertIn("maxMemoryRestart", death.advice)

    @run
    async def test_watch(self) -> None:
        """After a death that says nothing requests are written down, and the next one is known."""
        await self.run_app()
        self.send("/abort")
        first = await self.died(1)
        self.assertEqual((first.cause, first.requests), ("abort", ()))
        await self.answers(1)
        self.send("/abort?secret")
        second = await self.died(2)
        self.assertEqual([one.path for one in second.requests], ["/abort"])

    async def answers(self, count: int = 8) -> list[dict[str, Any]]:
        """Ask for what is answered with ok."""
        client = Client(self.edge.port)
        try:
            return [{"body": await in_thread(client.get)} for _ in range(count)]
        finally:
            client.close()

    @run
    async def test_killed(self) -> None:
        """Of a worker that is killed at least the requests that took long are known."""
        await self.run_app()
        self.send("/takes/long?secret")
        (worker,) = self.monitor._apps["app"].workers()
        await until(lambda: worker.joined()[0].stats.slow)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        death = await self.died()
        self.assertEqual((death.cause, death.signal), ("killed", "SIGKILL"))
        (request,) = death.requests
        self.assertEqual(request.path, "/takes/long")
        self.assertGreater(request.age_ms or 0, 1000)
        self.assertGreater(death.memory_bytes, 10 << 20)

    @run
    async def test_below_npm(self) -> None:
        """The process below a launcher is asked, too."""
        self.write("package.json", json.dumps({"scripts": {"start": "node server.js"}}))
        await self.run_app(interpreter="npm", script=None)
        self.send("/throw")
        death = await self.died()
        self.assertIn("TypeError", death.error)
        self.assertEqual([one.path for one in death.requests], ["/throw"])


class StopTests(WhyTestCase):
    """Deaths of workers that are being stopped."""

    if not node_runtimes():
        skip = "there is no node"

    async def stopped(self, handler: str) -> None:
        """Run and stop an app that takes SIGTERM so."""
        # Something is open still once its servers are closed, as a database's connection is.
        kept = "setInterval(() => {}, 1000);"
        self.write("server.js", f"{CRASHING}{kept}process.on('SIGTERM', () => {{ {handler} }});")
        await self.run_app()
        self.converge(running=False)
        await self.monitor.settled("app")

    @run
    async def test_exception(self) -> None:
        """A clean-up that throws is a death: what it had to save is lost."""
        await self.stopped("throw new Error('disk full');")
        (death,) = self.deaths()
        self.assertEqual(death.reason, "exited with status 1 while it was being stopped")
        self.assertIn("Error: disk full at ", death.error)

    @run
    async def test_status(self) -> None:
        """An app that ends as it likes once it was asked to is none."""
        await self.stopped("process.exit(1);")
        self.assertEqual(self.deaths(), ())


class StartTests(WhyTestCase):
    """Deaths before anybody could ask anything."""

    if not node_runtimes():
        skip = "there is no node"

    async def fails(self, source: str, **changes: Any) -> DeathReport:
        """Try to run an app; return why it died first."""
        self.write("server.js", source)
        try:
            await self.run_app(**{"listen_timeout": 60_000, **changes})
        except WorkerError:
            return self.deaths()[-1]
        raise AssertionError("it started")

    @run
    async def test_module(self) -> None:
        """A missing package is named."""
        death = await self.fails("require('not-installed');")
        self.assertEqual(death.cause, "module-not-found")
        self.assertIn("missing: not-installed", death.explanation)
        self.assertIn(f"in {self.cwd}: npm ci", death.advice)

    @run
    async def test_es_module(self) -> None:
        """The same of an ES module."""
        self.write("server.mjs", "import 'not-installed';")
        death = await self.fails("", script="server.mjs")
        self.assertEqual(death.cause, "module-not-found")
        self.assertIn("missing: not-installed", death.explanation)

    @run
    async def test_address(self) -> None:
        """A port that is taken is named."""
        port = free_port()
        server = f"require('net').createServer().listen({port});"
        death = await self.fails(server + server)
        self.assertEqual(death.cause, "address-in-use")
        self.assertRegex(death.explanation, f"(::|0.0.0.0):{port}")

    @run
    async def test_syntax(self) -> None:
        """A syntax error is one."""
        death = await self.fails("const = 1;")
        self.assertEqual(death.cause, "syntax")
        self.assertIn("SyntaxError: Unexpected token", death.error)

    @run
    async def test_option(self) -> None:
        """An option that Node does not know is named."""
        death = await self.fails("", node_args=("--no-such-thing",))
        self.assertEqual(death.cause, "bad-option")
        self.assertIn("--no-such-thing", death.explanation)

    @run
    async def test_silent(self) -> None:
        """So is an app that opens no port."""
        death = await self.fails("setInterval(() => {}, 1000);", listen_timeout=1500)
        self.assertEqual((death.cause, death.exit_code), ("silent", None))

    @run
    async def test_refused(self) -> None:
        """A service that it needs and that is not there is named."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
            death = await self.fails(f"require('net').connect({port}, '127.0.0.1');")
        self.assertEqual(death.cause, "refused")
        self.assertIn(f"127.0.0.1:{port}", death.explanation)

    @run
    async def test_program(self) -> None:
        """A program in another language is told by its exception, too."""
        self.write("server.py", "raise ValueError('no such table')")
        death = await self.fails("", script="server.py", interpreter=sys.executable)
        self.assertEqual(death.error, "ValueError: no such table")


class KeptTests(WhyTestCase):
    """Deaths outlive the service."""

    if not node_runtimes():
        skip = "there is no node"

    @property
    def file(self) -> Path:
        (path,) = (self.home / "run" / "deaths").iterdir()
        return path

    @run
    async def test_kept(self) -> None:
        """They are read again, by the service alone; not when the file is damaged."""
        await self.run_app()
        self.send("/exit")
        before = await self.died()
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        container = self.monitor._apps["app"]
        container.deaths._kept = None
        self.assertEqual(self.deaths(), (before,))
        self.file.write_text("[{")
        container.deaths._kept = None
        self.assertEqual(self.deaths(), ())
        self.send("/exit")
        await self.died()
        self.assertEqual(len(json.loads(self.file.read_text())), 1)

    @run
    async def test_deleted(self) -> None:
        """A stop of the service keeps the file, the end of the app does not."""
        from ood.model.document import Document

        await self.run_app()
        self.send("/exit")
        await self.died()
        self.monitor.converge(Document())
        await until(lambda: "app" not in self.monitor._apps)
        self.assertEqual(list((self.home / "run" / "deaths").iterdir()), [])
