"""The example works as its documentation says."""

from __future__ import annotations

import contextlib
import json

import treq
from twisted.internet import reactor
from twisted.internet.error import ConnectError
from twisted.web.client import HTTPConnectionPool

from tests.integration.raft.clients import sleep
from tests.integration.raft.cluster import Processes
from tests.integration.raft.test_processes import RECOVERY_SECONDS, ProcessCase
from tests.support.ports import free_ports


class ExampleTests(ProcessCase):
    """``examples/raft-kv`` over HTTP."""

    def setUp(self) -> None:
        self.pool = HTTPConnectionPool(reactor)
        self.addCleanup(self.pool.closeCachedConnections)

    async def ask(self, method: str, port: int, path: str, body: bytes = b"") -> tuple[int, str]:
        """Return status and text; wait for a server that is still starting."""
        url = f"http://127.0.0.1:{port}{path}"
        for _ in range(int(RECOVERY_SECONDS / 0.1)):
            with contextlib.suppress(ConnectError):
                answer = await treq.request(method, url, data=body, pool=self.pool, timeout=15)
                return answer.code, await answer.text()
            await sleep(0.1)
        raise AssertionError("the server does not answer")

    async def test_http(self) -> None:
        """Writes on one member are read on another; members come and go; figures are there."""
        processes: Processes = self.cluster(4)
        ports = dict(zip(processes.names, free_ports(4), strict=True))
        everyone, processes.names = processes.names, "abc"
        for name in "abc":
            processes.options = ["--plaintext", "--http", f"127.0.0.1:{ports[name]}"]
            processes.start(name)
        self.assertEqual(await self.ask("PUT", ports["a"], "/kv/greeting", b"hello"), (200, "ok\n"))
        self.assertEqual(await self.ask("GET", ports["b"], "/kv/greeting"), (200, "hello\n"))
        self.assertEqual((await self.ask("GET", ports["c"], "/kv/nothing"))[0], 404)
        processes.names = everyone
        processes.options = ["--plaintext", "--join", "--http", f"127.0.0.1:{ports['d']}"]
        processes.peers = {}
        processes.start("d")
        await self.ask("GET", ports["d"], "/status")
        joined = await self.ask("PUT", ports["b"], f"/members/{processes.addresses['d']}")
        self.assertEqual(joined, (200, "d is a member\n"))
        self.assertEqual(await self.ask("GET", ports["d"], "/kv/greeting"), (200, "hello\n"))
        left = await self.ask("DELETE", ports["d"], "/members/d")
        self.assertEqual(left, (200, "d is no member any more\n"))
        status = json.loads((await self.ask("GET", ports["a"], "/status"))[1])
        self.assertEqual(sorted(status["status"]["configuration"][0]), ["a", "b", "c"])
        metrics = (await self.ask("GET", ports["a"], "/metrics"))[1]
        self.assertIn('raft_commit{cluster="kv",node="a"}', metrics)
