"""The ``ood`` command as a process, against an API on a loopback socket."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from ood.api.service import ApiService
from ood.api.site import make_site
from ood.api.token import load_or_create_token
from ood.events import EventBus
from ood.testing.controller import MemoryController


class Command(ProcessProtocol):
    """A running ``ood``."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.ended: Deferred[int] = Deferred()
        self._waiting: list[tuple[bytes, Deferred[None]]] = []

    def outReceived(self, data: bytes) -> None:
        self.out += data
        for entry in tuple(self._waiting):
            if entry[0] in self.out:
                self._waiting.remove(entry)
                entry[1].callback(None)

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def until(self, text: bytes) -> Deferred[None]:
        """Fire when ``text`` was written."""
        written: Deferred[None] = Deferred()
        self._waiting.append((text, written))
        self.outReceived(b"")
        return written

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(reason.value.exitCode)


class ProcessCase(TestCase):
    """Commands as processes, with a controller that knows one app."""

    timeout = 60

    async def _start(self) -> None:
        self.home = Path(tempfile.mkdtemp()).absolute()
        self.addCleanup(shutil.rmtree, self.home)
        self.controller = MemoryController()
        await self.controller.init("shop.example", {"cwd": "/srv/shop"})
        self.controller.log("shop.example", "first\x1b[2J line")
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        self.clock, self.events = Clock(), EventBus()
        token = load_or_create_token(self.home)
        site = make_site(self.controller, token, reactor=self.clock, events=self.events)
        self.service = ApiService(site, sock, reactor, self.clock)
        self.service.startService()
        self.announce()
        self.commands: list[Command] = []

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._start())

    def tearDown(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        for command in self.commands:
            if not command.ended.called:
                command.transport.signalProcess("KILL")
                await command.ended
        if self.service.running:
            await self.service.stopService()

    def announce(self) -> None:
        (self.home / "run").mkdir(exist_ok=True)
        (self.home / "run" / "api.json").write_text(json.dumps({"port": self.port, "pid": 1}))

    def spawn(self, *arguments: str, home: Path | None = None, terminal: bool = False) -> Command:
        command = Command()
        self.commands.append(command)
        environ = {**os.environ, "OOD_HOME": str(home or self.home)}
        environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
        words = [sys.executable, "-m", "ood.cli.main", *arguments]
        if terminal:
            environ |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        reactor.spawnProcess(command, sys.executable, words, environ, usePTY=terminal)
        return command

    async def ood(self, *arguments: str, home: Path | None = None) -> tuple[int, str, str]:
        command = self.spawn(*arguments, home=home)
        status = await command.ended
        return status, command.out.decode(), command.err.decode()
