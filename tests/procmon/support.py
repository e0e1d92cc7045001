"""What the tests of the process monitor share: a small edge, a client, a monitor to drive."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial import unittest

from ood.clock import MonotonicClock
from ood.model.document import App, Document
from ood.procmon.logs import Logs
from ood.procmon.monitor import ProcessMonitor
from ood.procmon.system import processes
from ood.procmon.system.oomkills import OomKills
from ood.procmon.system.runtime import NodeRuntime
from tests.support.ports import free_port

CLIENT_SECONDS = 60.0
"""How long a client waits for an answer: a connection that is lost must not look like a hang."""
PATIENCE_SECONDS = 60.0
"""How long something may take on a machine that is slow and busy with other things."""


def node_runtimes() -> list[NodeRuntime]:
    """Return the system's Node, then those that OOD_TEST_NODES names (paths, by colons)."""
    named = [path for path in os.environ.get("OOD_TEST_NODES", "").split(":") if path]
    found = [NodeRuntime()] if shutil.which("node") else []
    return found + [NodeRuntime(path) for path in named if os.access(path, os.X_OK)]


class Edge:
    """The least that the proxy does: every connection, new or returned, is handed off."""

    def __init__(self, monitor: ProcessMonitor, app: str) -> None:
        self.monitor = monitor
        self.app = app
        self.adopted = 0
        self.refusals = 0
        self.stranger_sockets: list[socket.socket] = []
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", free_port()))
        self._sock.listen(512)
        self._sock.setblocking(False)
        self.port = self._sock.getsockname()[1]
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._sock.fileno()

    def logPrefix(self) -> str:
        return "edge"

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def doRead(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            self._give(sock)

    def _give(self, sock: socket.socket) -> None:
        if not self.monitor.hand_off(self.app, sock, self.refused):
            available = self.monitor.when_available(self.app)
            available.addCallbacks(lambda _: self._give(sock), lambda _: sock.close())

    def refused(self, app: str, sock: socket.socket) -> None:
        self.refusals += 1
        self._give(sock)

    def adopt(self, app: str, sock: socket.socket) -> None:
        self.adopted += 1
        self._give(sock)

    def strangers(self, app: str, sock: socket.socket) -> None:
        self.stranger_sockets.append(sock)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            reactor.removeReader(self)
            self._sock.close()
        for sock in self.stranger_sockets:
            sock.close()


class Client:
    """A client with one keep-alive connection; blocking, so for threads."""

    def __init__(self, port: int, host: str = "app.localhost") -> None:
        self._host = host
        self._sock = socket.create_connection(("127.0.0.1", port), CLIENT_SECONDS)
        self._file = self._sock.makefile("rb")

    def send(self, path: str = "/") -> None:
        head = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n"
        self._sock.sendall(head.encode())

    def answer(self) -> str:
        status = self._file.readline().split()
        length = 0
        while True:
            line = self._file.readline()
            if not line:
                raise ConnectionError("the connection was closed without an answer")
            if line == b"\r\n":
                break
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = self._file.read(length).decode()
        if status[1] != b"200":
            raise AssertionError(f"{status}: {body}")
        return body

    def get(self, path: str = "/") -> str:
        self.send(path)
        return self.answer()

    def close(self) -> None:
        self._file.close()
        self._sock.close()


def get(port: int, path: str = "/") -> str:
    """Ask once on a connection of its own."""
    client = Client(port)
    try:
        return client.get(path)
    finally:
        client.close()


async def wait(seconds: float) -> None:
    """Let the reactor turn."""
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    await done


async def until(true: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until ``true()`` holds; the tests' own patience ends it otherwise."""
    clock = MonotonicClock(reactor)
    deadline = clock.seconds() + seconds
    while not true():
        if clock.seconds() > deadline:
            raise AssertionError("it did not become true")
        await wait(0.02)


def in_thread(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """Call a blocking function while the reactor turns."""
    return deferToThread(function, *args)


SERVER = """
const http = require('http');
http.createServer((request, response) => {
  const answer = JSON.stringify({ instance: process.env.NODE_APP_INSTANCE, pid: process.pid });
  const slow = /slow=(\\d+)/.exec(request.url);
  const send = () => response.setHeader('Content-Length', answer.length).end(answer);
  if (slow) setTimeout(send, +slow[1]); else send();
}).listen(process.env.PORT, () => console.log('listening on', process.env.PORT));
"""


class MonitorTestCase(unittest.TestCase):
    """Runs real workers below a directory that any user may enter."""

    timeout = 240
    runtime: NodeRuntime | None = None

    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ood-", dir="/tmp"))
        self.home.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.home, True)
        self.cwd = self.home / "app"
        self.cwd.mkdir()
        self.clock = MonotonicClock(reactor)
        self.logs = Logs(self.home / "logs", self.clock, deferToThread)
        self.monitor = ProcessMonitor(
            reactor, self.clock, self.home / "run", self.logs, runtime=self.runtime
        )
        # The kernel's own count is of the whole machine, where another test runs out of memory.
        nowhere = self.home / "nowhere"
        self.monitor._context.oom = OomKills(nowhere, nowhere)
        self.edge = Edge(self.monitor, "app")
        self.monitor.set_edge(self.edge)
        self.monitor.set_public_ports(frozenset({self.edge.port}))
        self.monitor.startService()
        self.app = App(
            cwd=str(self.cwd), port=free_port(), script="server.js", running=True, kill_timeout=5000
        )
        self.write("server.js", SERVER)

    async def _tear_down(self) -> None:
        roots = set(self.monitor._roots())
        await self.monitor.stopService()
        await self.logs.stopService()
        self.edge.close()
        left = processes.family(processes.table(), roots)
        self.assertEqual(left, [], "processes are left behind")

    def tearDown(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tear_down())

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.cwd / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def converge(self, **changes: Any) -> None:
        """Change the app's settings and let the monitor follow."""
        import msgspec

        self.app = msgspec.structs.replace(self.app, **changes)
        self.monitor.converge(Document(apps={"app": self.app}))

    async def run_app(self, **changes: Any) -> None:
        """The same, and wait until it is so."""
        self.converge(**changes)
        await self.monitor.settled("app")

    def texts(self) -> str:
        """Return the app's log."""
        return "\n".join(self.logs.last("app", 200))

    def pids(self) -> list[int]:
        """Return the root processes that are online."""
        workers = self.monitor.status("app").workers
        return [worker.pid for worker in workers if worker.pid and worker.state == "online"]


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"
