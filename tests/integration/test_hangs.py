"""Workers whose event loop hangs: where, and with which requests, is found out before they end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from ood.model.death import DeathReport
from ood.procmon.deaths import stacks
from tests.integration.test_why import WhyTestCase
from tests.integration.workers import run
from tests.procmon.support import (
    PATIENCE_SECONDS,
    MonitorTestCase,
    alive,
    get,
    in_thread,
    node_runtimes,
    until,
)

HANGING = """
const http = require('http');
function burn(path) {
  if (path === '/regex') /^(a+)+$/.test('a'.repeat(60) + 'b');
  if (path === '/sync') require('child_process').execSync('sleep 60');
  if (path === '/loop') for (;;) ;
}
http.createServer(function handler(request, response) {
  const path = request.url.split('?')[0];
  if (path !== '/wait') setImmediate(() => { console.log('burns'); burn(path); });
  if (path === '/') response.setHeader('Content-Length', 2).end('ok');
}).listen(process.env.PORT);
"""


class HangTestCase(WhyTestCase):
    """An app that hangs as it is asked to."""

    def setUp(self) -> None:
        super().setUp()
        self.write("server.js", HANGING)

    async def hang(self, path: str, **changes: Any) -> DeathReport:
        """Have a worker hang, and ood notice; return what is known of its death."""
        await self.run_app(running=True, **changes)
        before = self.texts().count("burns")
        self.send("/wait?secret")
        (worker,) = self.monitor._apps["app"].workers()
        await until(lambda: worker.joined()[0].stats.in_flight == 1)
        self.send(f"{path}?secret")
        await until(lambda: self.texts().count("burns") > before)
        (member,) = worker.joined()
        worker.hangs("hangs: no sign of life")
        worker.hangs("hangs: no sign of life")
        self.assertFalse(self.monitor.takes_sockets("app", alone=True))
        death = await self.died()
        await until(lambda: not alive(member.pid))
        return death

    async def check(self, path: str, **changes: Any) -> None:
        self.patch(stacks, "LOOK_SECONDS", PATIENCE_SECONDS)
        death = await self.hang(path, **changes)
        self.assertEqual((death.cause, death.reason), ("hang", "hangs: no sign of life"))
        self.assertRegex(death.stack[0], rf"^burn \({self.cwd}/server.js:\d+:\d+\)$")
        self.assertTrue(any("Immediate" in call for call in death.stack), death.stack)
        self.assertEqual(sorted(one.path for one in death.requests), sorted((path, "/wait")))
        self.assertIn(f"it hangs in burn ({self.cwd}/server.js:", self.texts())


class HangTests(HangTestCase):
    """Processes that are busy for ever."""

    if not node_runtimes():
        skip = "there is no node"

    @run
    async def test_loop(self) -> None:
        """A loop without an end."""
        await self.check("/loop")

    @run
    async def test_regular_expression(self) -> None:
        """A regular expression that backtracks, below npm."""
        self.write("package.json", '{"scripts": {"start": "node server.js"}}')
        await self.check("/regex", interpreter="npm", script=None)

    @run
    async def test_cannot_be_asked(self) -> None:
        """One that waits in a system call can't be asked; it is replaced all the same."""
        death = await self.hang("/sync")
        self.assertEqual((death.cause, death.stack), ("hang", ()))

    @run
    async def test_other_user(self) -> None:
        """Another user's process is looked into as well, where ood may."""
        if os.getuid() != 0:
            self.skipTest("only root can run workers as another user")
        await self.check("/loop", user="nobody")

    @run
    async def test_stopped(self) -> None:
        """A process that is stopped is said to be so, at once."""
        await self.run_app()
        (pid,) = self.pids()
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: "State:\tT" in Path(f"/proc/{pid}/status").read_text())
        self.monitor._apps["app"].workers()[0].hangs("hangs: no sign of life")
        death = await self.died()
        self.assertEqual(death.stack, ("(stopped by a signal such as SIGSTOP)",))

    @run
    async def test_own_handler(self) -> None:
        """A signal that the app wants for itself does no harm."""
        self.write("server.js", "process.on('SIGUSR1', () => {});" + HANGING)
        death = await self.hang("/loop")
        self.assertEqual((death.cause, death.stack), ("hang", ()))


class EveryNodeTests(HangTestCase):
    """The same in other versions of Node."""

    if len(node_runtimes()) < 2:
        skip = "OOD_TEST_NODES names no other node"

    @run
    async def test_every_node(self) -> None:
        """Each can be asked."""
        for runtime in node_runtimes()[1:]:
            self.monitor._context.runtime = runtime
            await self.check("/loop")
            await self.run_app(running=False)
            self.monitor._apps["app"].deaths.forget()


class QuietTests(MonitorTestCase):
    """Nobody else can look into a process."""

    if not node_runtimes():
        skip = "there is no node"

    @run
    async def test_address(self) -> None:
        """The inspector does not tell its address to who asks; only stderr has it."""
        await self.run_app()
        os.kill(self.pids()[0], signal.SIGUSR1)
        await until(lambda: "Debugger listening" in self.texts())
        line = next(one for one in self.texts().splitlines() if "Debugger listening" in one)
        port = int(line.split(":")[2].split("/")[0])
        self.assertNotEqual(port, 9229)
        try:
            answer = await in_thread(get, port, "/json/list")
        except (OSError, AssertionError, IndexError) as error:
            answer = str(error)
        self.assertNotIn("ws://", answer)
