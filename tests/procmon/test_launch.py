"""How a worker is to be run: mode, command, account, port; and the system's processes."""

from __future__ import annotations

import os
import random
import socket
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.errors import WorkerError
from ood.model.document import App
from ood.procmon.members.extras import ExtraPorts
from ood.procmon.members.port import accepts, free_port
from ood.procmon.system import accounts, processes
from ood.procmon.system.runtime import NodeRuntime
from ood.procmon.workers import launch, preflight
from tests.procmon.machine import Machine
from tests.procmon.test_parts import TemporaryTestCase


class ModeTests(SynchronousTestCase):
    """How connections get into workers."""

    def test_modes(self) -> None:
        """The setting decides, and where Node forbids the guard, Node's channel."""
        app = App(cwd="/", port=1)
        for changes, unfit, mode in (
            ({}, False, "guard"),
            ({}, True, "cluster"),
            ({"interpreter": "npm"}, False, "guard"),
            ({"interpreter": "npm"}, True, "port"),
            ({"interpreter": "python3"}, False, "port"),
            ({"handoff": "never"}, False, "port"),
            ({"handoff": "cluster"}, False, "cluster"),
            ({"handoff": "guard"}, True, "guard"),
            ({"node_args": ("--permission",)}, False, "cluster"),
            ({"env": {"NODE_OPTIONS": "--permission"}}, False, "cluster"),
        ):
            changed = App(**{"cwd": app.cwd, "port": 1, **changes})  # type: ignore[arg-type]
            self.assertEqual(launch.mode(changed, unfit), mode, changes)


class PreflightTests(TemporaryTestCase):
    """What is checked before anything is started."""

    def app(self, **changes: Any) -> App:
        return App(**{"cwd": str(self.directory), "port": 1, "script": "a.js", **changes})

    def error(self, **changes: Any) -> str:
        runtime = NodeRuntime("/bin/true", "/usr/bin:/bin")
        raised = self.assertRaises(WorkerError, preflight.command, self.app(**changes), runtime)
        return str(raised)

    def test_missing(self) -> None:
        """Whatever is missing is named with its key."""
        self.assertIn("a.js: No such file or directory", self.error())
        self.assertIn("script: none is set", self.error(script=None))
        self.assertIn("cwd: /nowhere", self.error(cwd="/nowhere"))
        self.assertIn("there is no user nobody-here", self.error(user="nobody-here"))
        self.assertIn("no program florp", self.error(interpreter="florp"))
        (self.directory / "package.json").write_text('{"scripts":{"serve":"x"}}')
        error = self.error(interpreter="npm", script=None)
        self.assertIn("no script start", error)
        self.assertIn("there are: serve", error)

    def test_odd_package(self) -> None:
        """A package.json that is none, or a pipe, is no trouble."""
        for content in ("[]", "{", '{"scripts":7}', "\x00"):
            (self.directory / "package.json").write_text(content)
            self.assertIn("no script", self.error(interpreter="npm", script="x"))
        (self.directory / "package.json").unlink()
        os.mkfifo(self.directory / "package.json")
        self.assertIn("no script", self.error(interpreter="npm", script="x"))

    def test_not_executable(self) -> None:
        """A program must be executable."""
        (self.directory / "a.js").write_text("")
        (self.directory / "a.js").chmod(0o644)
        self.assertIn("can't run", self.error(interpreter="none"))

    def test_groups_count(self) -> None:
        """A directory of a group is open to its members, closed to others."""
        inner = self.directory / "inner"
        inner.mkdir(mode=0o750)
        group = inner.stat().st_gid
        for groups, wall in ((frozenset({group}), None), (frozenset({99_999}), inner)):
            account = accounts.Account("x", "/", 99_999, 99_999, groups, other=True)
            self.assertEqual(accounts.obstacle(account, inner, os.X_OK), wall)

    def test_node_out_of_reach(self) -> None:
        """A Node in somebody's closed home is refused by name, with what to do."""
        closed = self.directory / "home"
        closed.mkdir(mode=0o700)
        node = closed / "node"
        self.assertEqual(preflight.runnable(self.stranger(), "/bin/true", "node"), "/bin/true")
        node.write_text("")
        node.chmod(0o755)
        error = self.assertRaises(
            WorkerError, preflight.runnable, self.stranger(), str(node), "node"
        )
        self.assertIn("node: user x can't enter /", str(error))
        self.assertIn("install node where every user can run it", str(error))

    def stranger(self) -> accounts.Account:
        return accounts.Account("x", "/", 99_999, 99_999, frozenset({99_999}), other=True)

    def test_command(self) -> None:
        """Links are resolved, arguments in their places."""
        (self.directory / "b.js").write_text("")
        (self.directory / "a.js").symlink_to("b.js")
        app = self.app(node_args=("--inspect",), args=("x",))
        argv = preflight.command(app, NodeRuntime("/bin/true")).argv
        script = str((self.directory / "b.js").resolve())
        self.assertEqual(argv, ("/bin/true", "--inspect", script, "x"))


class PortTests(SynchronousTestCase):
    """Ports of workers and further ports of apps."""

    def test_free_port(self) -> None:
        """A free port is below those that the kernel gives out, and nobody listens there."""
        port = free_port(frozenset(), random.Random(1))
        self.assertTrue(20_000 <= port < 32_768)
        self.assertFalse(accepts(port))
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            sock.listen()
            self.assertTrue(accepts(port))

    def test_occupied(self) -> None:
        """A further port that is taken is told once, and others are served all the same."""
        machine: Any = Machine()
        remarks: list[str] = []
        extras = ExtraPorts(machine, Clock(), lambda _port, _sock: False, remarks.append)
        self.addCleanup(extras.close)
        port = free_port(frozenset(), random.Random(2))
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            taken = sock.getsockname()[1]
            for _ in range(3):
                extras.update([taken, port, 22], privileged=False)
        self.assertEqual(extras.ports, {port})
        self.assertEqual(len(remarks), 2)
        self.assertIn(f"port {taken} is not served", remarks[0])


class ProcessTests(SynchronousTestCase):
    """The system's processes."""

    def test_myself(self) -> None:
        """This process is found, with its parent, and belongs to itself only."""
        me = processes.read(os.getpid())
        assert me is not None
        self.assertEqual(me.parent, os.getppid())
        self.assertGreater(me.memory_bytes, 1 << 20)
        self.assertTrue(processes.belongs(me.pid, me.parent))
        self.assertFalse(processes.belongs(me.parent, me.pid))
        self.assertFalse(processes.belongs(1 << 23, me.pid))

    def test_family(self) -> None:
        """A family is the session, and whoever descends from it, whatever its session."""

        def process(pid: int, parent: int, session: int, zombie: bool = False) -> processes.Process:
            return processes.Process(pid, parent, session, 1, 0.0, 0, zombie)

        every = [
            process(10, 1, 10),
            process(11, 10, 10),
            process(12, 11, 12),
            process(13, 1, 10),
            process(14, 10, 10, zombie=True),
            process(20, 1, 20),
        ]
        table = {one.pid: one for one in every}
        found = {one.pid for one in processes.family(table, {10})}
        self.assertEqual(found, {10, 11, 12, 13})
