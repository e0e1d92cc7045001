"""A machine in memory: processes that never run, descriptors that are read on demand, a Clock.

Workers on Node's own channel are used: the test speaks for Node on the child's end.
"""

from __future__ import annotations

import json
import random
import select
import socket
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any

import msgspec
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ood.background import Background
from ood.model.document import App
from ood.procmon.app import AppContainer
from ood.procmon.context import Context
from ood.procmon.core.join import Hosts
from ood.procmon.roll import Rolls
from ood.procmon.system.runtime import NodeRuntime
from ood.traffic.traffic import Traffic

FIRST_PID = 1 << 23
"""Above the highest process id that Linux gives out: no real process is ever meant."""


class Node:
    """A process that was started: what it says is what the test says."""

    def __init__(
        self, protocol: Any, pid: int, env: dict[str, str], channel: socket.socket
    ) -> None:
        self.protocol = protocol
        self.pid = pid
        self.env = env
        self.channel = channel
        self.seq = 0
        self.heard: list[dict[str, Any]] = []
        self.got: list[int] = []

    def say(self, message: Any) -> None:
        self.channel.sendall(json.dumps(message).encode() + b"\n")

    def act(self, act: str, **more: Any) -> None:
        self.seq += 1
        self.say({"cmd": "NODE_CLUSTER", "act": act, "seq": self.seq, **more})

    def listen(self) -> None:
        server = {"address": None, "port": 3000, "addressType": 6, "index": 0}
        self.act("queryServer", data=None, **server)
        self.act("listening", **server)

    def hear(self) -> list[dict[str, Any]]:
        """Read what came; return the messages about connections."""
        while select.select([self.channel], [], [], 0)[0]:
            data, descriptors, _, _ = socket.recv_fds(self.channel, 65536, 16)
            if not data:
                break
            self.got += descriptors
            self.heard += [json.loads(line) for line in data.splitlines()]
        messages = [one.get("msg", {}) for one in self.heard if isinstance(one, dict)]
        return [one for one in messages if one.get("act") == "newconn"]

    def exit(self, code: int | None = 0, signal: int | None = None) -> None:
        """The process ends, as the reactor tells it."""
        self.channel.close()
        ended = ProcessTerminated(code, signal) if code or signal else ProcessDone(0)
        self.protocol.processExited(Failure(ended))
        self.protocol.processEnded(Failure(ended))


class Machine:
    """Stands for the reactor."""

    def __init__(self) -> None:
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()
        self.nodes: list[Node] = []
        self.addReader = self.readers.add
        self.removeReader = self.readers.discard
        self.addWriter = self.writers.add
        self.removeWriter = self.writers.discard

    def spawnProcess(self, protocol: Any, *args: Any, **options: Any) -> Any:
        channel = socket.socket(fileno=socket.dup(options["childFDs"][3]))
        node = Node(protocol, FIRST_PID + len(self.nodes), options["env"], channel)
        self.nodes.append(node)
        self.pid = node.pid
        protocol.makeConnection(self)
        return self

    def loseConnection(self) -> None:
        """The pipes of a process are closed."""

    def pump(self) -> None:
        """Let everything that waits be written, and all that can be read be read."""
        for writer in list(self.writers):
            writer.doWrite()
        for _ in range(20):
            readable = select.select(list(self.readers), [], [], 0)[0]
            if not readable:
                return
            for reader in readable:
                if reader in self.readers:
                    reader.doRead()


class Remarks:
    """A log in memory."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def lines(self, app: str, instance: int, stream: str, texts: list[str]) -> None:
        self.texts += texts

    def remark(self, app: str, text: str) -> None:
        self.texts.append(text)

    def last(self, app: str, lines: int) -> tuple[str, ...]:
        return tuple(self.texts[-lines:])


class ContainerTestCase(SynchronousTestCase):
    """One app on a machine in memory."""

    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ood-app-"))
        self.addCleanup(rmtree, self.home)
        # beside the app: some watch its directory
        run = Path(tempfile.mkdtemp(prefix="ood-run-"))
        self.addCleanup(rmtree, run)
        (self.home / "server.js").write_text("")
        self.clock = Clock()
        self.machine = Machine()
        self.logs = Remarks()
        machine: Any = self.machine
        self.context = Context(
            fds=machine,
            processes=machine,
            clock=self.clock,
            logs=self.logs,
            runtime=NodeRuntime("/bin/true"),
            run=run,
            guard="/guard.cjs",
            inherited={},
            chance=random.Random(7),
            background=Background(),
            traffic=Traffic(self.clock),
        )
        self.app = App(
            cwd=str(self.home), port=3000, script="server.js", handoff="cluster", running=True
        )
        hosts = Hosts(("app.localhost",), (), default=True, port=3000)
        self.container = AppContainer(self.context, "app", self.app, hosts)
        self.rolls = Rolls(self.container)
        self.addCleanup(self.end)

    def end(self) -> None:
        """Stop the app; nothing may be left of it."""
        self.converge(running=False)
        for node in self.machine.nodes:
            if node.channel.fileno() >= 0:
                node.exit()
        for _ in range(10):
            self.clock.advance(1)
        self.assertTrue(self.container.gone)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.machine.readers, set())
        self.assertEqual(len(self.context.background), 0)

    def converge(self, **changes: Any) -> None:
        self.app = msgspec.structs.replace(self.app, **changes)
        self.container.converge(self.app, self.container.hosts)

    def start(self, count: int = 1) -> list[Node]:
        """Start the app; all its workers listen."""
        self.converge(instances=count)
        nodes = self.machine.nodes[-count:]
        for node in nodes:
            node.listen()
        self.machine.pump()
        return nodes

    def states(self) -> list[str]:
        slots = self.container.slots
        return [slot.worker.state if slot.worker else slot.state for slot in slots.values()]
