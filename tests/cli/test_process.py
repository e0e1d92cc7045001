"""The ``ood`` command as a process, against an API on a loopback socket."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.web.resource import Resource
from twisted.web.server import Site

from ood.api.token import load_or_create_token
from ood.home import Home
from ood.model.release import STARTING, Step
from ood.model.status import AppStatus
from tests.cli.process import ProcessCase


class ProcessTests(ProcessCase):
    async def shell(self, line: str) -> str:
        """Return what a shell line that runs ``ood`` leaves on stderr, and its status."""
        environ = {**os.environ, "OOD_HOME": str(self.home)}
        environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
        words = f'ood() {{ "{sys.executable}" -m ood.cli.main "$@"; }}; {line}; echo $? >&2'
        _, err, _ = await getProcessOutputAndValue("/bin/sh", ("-c", words), environ)
        return err.decode()

    async def test_nowhere_to_write(self) -> None:
        """A closed or full stdout is said in a line, or nothing is; never a traceback."""
        self.assertEqual(await self.shell("ood status >&-"), "0\n")
        full = "ood: can't write the results: No space left on device\n1\n"
        for line in ("ood status", "ood help", "ood --json status"):
            self.assertEqual(await self.shell(f"{line} >/dev/full"), full)
        self.assertEqual(await self.shell("ood nothing 2>&-"), "2\n")

    async def test_a_directory_that_is_gone(self) -> None:
        """Adding an app from a directory that was removed names that."""
        gone = self.home / "gone"
        gone.mkdir()
        error = await self.shell(f"cd {gone} && rmdir {gone} && ood init new.example")
        self.assertIn("this directory is gone", error)
        self.assertTrue(error.endswith("1\n"))

    async def test_a_day(self) -> None:
        """The commands of a day work one after the other."""
        for line, text in (
            ("start shop.example", "is online"),
            ("scale shop.example +1", "2 workers"),
            ("status", "4002"),
            ("config -a shop.example -s env.MODE x", "env.MODE  x"),
            ("log shop.example", "first\\x1b[2J line"),
            ("stop shop.example", "is stopped"),
        ):
            status, out, err = await self.ood(*line.split())
            self.assertEqual((status, err), (0, ""), line)
            self.assertIn(text, out)
            self.assertNotIn("\x1b", out)

    async def test_refused(self) -> None:
        """A refusal is one line on stderr, and status 1."""
        self.assertEqual(
            await self.ood("start", "nobody"),
            (1, "", "ood: there is no app nobody (apps: shop.example)\n"),
        )

    async def test_usage(self) -> None:
        """Misuse is status 2."""
        status, out, err = await self.ood("strat", "shop.example")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("did you mean: ood start", err)

    async def test_not_running(self) -> None:
        """Without a service it says so, names the home, and how to start it."""
        await self.service.stopService()
        status, _, err = await self.ood("status")
        self.assertEqual((status, err.count("\n")), (1, 1))
        self.assertIn(f"not running for the home {self.home}", err)
        self.assertIn(f"twistd -n ood --home {self.home}", err)

    async def test_settings_while_it_does_not_run(self) -> None:
        """A port that keeps the service from starting can be changed, by the same rules."""
        change = ("config", "--set", "httpPort", "18490")
        status, out, _ = await self.ood(*change)
        self.assertNotIn("does not run", out)
        await self.service.stopService()
        home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, home)
        status, out, err = await self.ood(*change, home=home)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(
            out, "httpPort  18490\nood does not run: this holds from its next start.\n"
        )
        kept = json.loads((home / "config.json").read_text())
        self.assertEqual(kept["settings"], {"httpPort": 18490})
        status, _, err = await self.ood("config", "--set", "httpPort", "x", home=home)
        self.assertEqual(status, 1)
        self.assertIn("httpPort", err)
        running = Home(home)
        running.open()
        self.addCleanup(running.close)
        status, _, err = await self.ood(*change, home=home)
        self.assertEqual(status, 1)
        self.assertIn("not running", err)

    async def test_wrong_home(self) -> None:
        """A service of another home is not mistaken for this one's."""
        other = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, other)
        load_or_create_token(other)
        shutil.copytree(self.home / "run", other / "run")
        status, _, err = await self.ood("status", home=other)
        self.assertEqual(status, 1)
        self.assertIn(f"is not the one of {other}", err)

    async def test_home_option(self) -> None:
        """--home beats OOD_HOME, before and after the command."""
        for line in (("--home", str(self.home), "status"), ("status", "--home", str(self.home))):
            status, _, err = await self.ood(*line, home=Path("/nowhere"))
            self.assertEqual((status, err), (0, ""))

    async def test_not_ood(self) -> None:
        """Something else on the port is told from ood, and does not hang the command."""
        await self.service.stopService()
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        self.announce()
        sock.setblocking(False)
        port = reactor.adoptStreamPort(sock.fileno(), sock.family, Site(Resource()))
        sock.close()
        status, _, err = await self.ood("status")
        await port.stopListening()
        self.assertEqual((status, err.count("\n")), (1, 1))
        self.assertIn("is not ood", err)

    async def test_follow(self) -> None:
        """Lines come as they are written; when the service stops, it says so."""
        command = self.spawn("log", "shop.example", "-f")
        await command.until(b"first")
        self.controller.log("shop.example", "second")
        await command.until(b"second")
        await self.service.stopService()
        self.assertEqual(await command.ended, 1)
        self.assertIn(b"the log has ended", command.err)

    async def test_interrupt(self) -> None:
        """Ctrl-C ends a command quietly, as shells expect."""
        command = self.spawn("log", "-f")
        await command.until(b"first")
        command.transport.signalProcess(signal.SIGINT)
        self.assertEqual(await command.ended, 130)
        self.assertEqual(command.err, b"")

    async def test_interrupted_deployment(self) -> None:
        """Ctrl-C too late for a deployment says that it goes on; before, it says nothing."""
        for step, said in (("copying", False), (STARTING, True)):
            told = Step(step=step, elapsed_ms=0)
            ended: Deferred[AppStatus] = Deferred()
            self.controller.deploy = lambda _name, _order, tell, t=told, e=ended: (tell(t), e)[1]
            command = self.spawn("deploy", "shop.example", terminal=True)
            await command.until(step.encode())
            command.transport.signalProcess(signal.SIGINT)
            self.assertEqual(await command.ended, 130)
            self.assertEqual(b"carried out nevertheless" in command.out, said)

    async def test_nobody_reads(self) -> None:
        """As in ``ood log -f | head``: it ends without complaint when its output is closed."""
        command = self.spawn("log", "-f")
        await command.until(b"first")
        command.transport.closeStdout()
        self.controller.log("shop.example", "to nobody")
        self.assertEqual(await command.ended, 1)
        self.assertEqual(command.err, b"")
