"""Workers that are replaced before they fail, or at once when they do: with real Nodes."""

from __future__ import annotations

import os
import signal

from tests.integration.workers import run
from tests.procmon.support import (
    Client,
    MonitorTestCase,
    alive,
    get,
    in_thread,
    node_runtimes,
    until,
)


class MemoryTests(MonitorTestCase):
    """A limit of memory."""

    if not node_runtimes():
        skip = "there is no node"

    @run
    async def test_replaced_gently(self) -> None:
        """A worker above maxMemoryRestart is replaced; its connection goes on elsewhere."""
        self.write(
            "server.js",
            "const kept = [];\nrequire('http').createServer((q, r) => {\n"
            "  if (q.url === '/grow') kept.push(Buffer.alloc(200 << 20, 1));\n"
            "  r.end(String(process.pid));\n}).listen(process.env.PORT);",
        )
        await self.run_app(max_memory_restart=180 << 20)
        client = await in_thread(Client, self.edge.port)
        self.addCleanup(client.close)
        before = await in_thread(client.get, "/grow")
        await until(lambda: self.pids() not in ([], [int(before)]))
        self.assertIn("more than 180 MB: it is replaced", self.texts())
        await until(lambda: not alive(int(before)))
        self.assertEqual(await in_thread(client.get), str(self.pids()[0]))
        self.assertEqual(self.monitor.deaths("app").deaths, ())


class SpareTests(MonitorTestCase):
    """A hot spare."""

    if not node_runtimes():
        skip = "there is no node"

    @run
    async def test_takes_over(self) -> None:
        """The spare answers when the only worker is killed, and another spare comes up."""
        await self.run_app(spare=1, min_uptime=0)
        await until(lambda: len(self.pids()) == 2)
        (serving, spare) = self.pids()
        self.assertIn(str(serving), await in_thread(get, self.edge.port))
        os.kill(serving, signal.SIGKILL)
        self.assertIn(str(spare), await in_thread(get, self.edge.port))
        await until(lambda: len(self.pids()) == 2)
        self.assertEqual(self.pids()[0], spare)
