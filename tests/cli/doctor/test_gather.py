"""The facts are those of this machine, and ``ood doctor`` tells them."""

from __future__ import annotations

import io
import json
import os
import socket
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ood.cli.access import not_running
from ood.cli.doctor import gather as gathering
from ood.cli.doctor.command import UnhealthyError, report
from ood.cli.doctor.facts import Facts, Listener
from ood.cli.doctor.gather import gather, listeners, loads_at_boot, owned, public_names, resolved
from ood.cli.output import Output
from ood.home import Home
from ood.model.document import App
from tests.cli.doctor.test_checks import HEALTHY
from tests.cli.support import CliCase


class GatherTests(SynchronousTestCase):
    """Facts."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()

    def gather(self, document: Any = None, answers: Any = None) -> Facts:
        self.home.mkdir(exist_ok=True)
        if document is not None:
            content = document if isinstance(document, str) else json.dumps(document)
            (self.home / "config.json").write_text(content)
        return gather(self.home, answers or {}, None if answers else not_running(self.home))

    def test_a_new_home(self) -> None:
        """Before there is anything, facts are known of the machine."""
        facts = gather(self.home / "nowhere", {}, not_running(self.home))
        self.assertEqual(facts.document and facts.document.apps, {})
        self.assertIn("is not running", facts.service_fault)
        self.assertIn("twistd", facts.service_fix)
        self.assertFalse(facts.forbidden)
        self.assertIn("127.0.0.1", facts.addresses)
        self.assertGreater(facts.open_files, 0)
        self.assertEqual([room.total_bytes > 0 for room in facts.rooms.values()], [True])
        self.assertEqual(facts.owned, {})

    def test_apps(self) -> None:
        """What keeps an app from starting is found without starting it."""
        directory = self.home / "shop"
        directory.mkdir(parents=True)
        (directory / "package.json").write_text('{"dependencies": {"socket.io": "4"}}')
        (directory / "run").write_text("#!/bin/sh\n")
        (directory / "run").chmod(0o755)
        good = {"cwd": str(directory), "port": 3001, "script": "run", "interpreter": "none"}
        apps = {"good": good, "bad": {**good, "port": 3002, "user": "nobody-has-this-name"}}
        facts = self.gather({"apps": apps})
        self.assertEqual(facts.apps["good"].obstacle, "")
        self.assertEqual(facts.apps["good"].packages, {"socket.io"})
        self.assertIn("nobody-has-this-name", facts.apps["bad"].obstacle)
        self.assertTrue(facts.apps["bad"].fix)

    def test_apps_without_workers(self) -> None:
        """Files need a directory, servers elsewhere nothing; nobody asks for a script."""
        self.home.mkdir()
        files = {"type": "static", "cwd": str(self.home), "port": 3001}
        proxy = {"type": "proxy", "upstreams": ["10.0.0.5:80"], "port": 3003, "cwd": "/"}
        lost = {**files, "cwd": str(self.home / "gone"), "port": 3002}
        secure = {**proxy, "upstreams": ["https://a caFile=/nonexistent"], "port": 3004}
        every = {"files": files, "lost": lost, "proxy": proxy, "secure": secure}
        facts = self.gather({"apps": every})
        self.assertIn("caFile /nonexistent: No such file", facts.apps["secure"].obstacle)
        self.assertEqual(facts.document_fault, "")
        self.assertEqual(facts.apps["files"].obstacle, "")
        self.assertEqual(facts.apps["proxy"].obstacle, "")
        self.assertIn("is not a directory", facts.apps["lost"].obstacle)
        self.assertIn("ood config -a lost -s cwd", facts.apps["lost"].fix)

    def test_bad_documents(self) -> None:
        """A damaged configuration is a fact, too."""
        for content, text in (("{", "damaged"), ('{"apps": {"a": {}}}', "can't be used")):
            facts = self.gather(content)
            self.assertIsNone(facts.document)
            self.assertIn(text, facts.document_fault)

    def test_service(self) -> None:
        """What the service says of itself is taken over; its processes are known."""
        (self.home / "run").mkdir(parents=True)
        (self.home / "run" / "api.json").write_text(json.dumps({"port": 1, "pid": os.getpid()}))
        answers = {"version": "1", "apps": [{"name": "a"}], "certificates": []}
        facts = self.gather(answers=answers)
        self.assertEqual((facts.service_version, facts.service_pids[0]), ("1", os.getpid()))
        self.assertEqual(facts.statuses, ({"name": "a"},))

    def test_service_that_is_not_announced(self) -> None:
        """A service that started on a full disk is known by where it answers."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            answers = {"version": "1", "settings": {"apiPort": sock.getsockname()[1]}}
            facts = self.gather(answers=answers)
        self.assertEqual(facts.service_pids[:1], (os.getpid(),))

    def test_listeners(self) -> None:
        """Who listens is named."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            found = listeners()[sock.getsockname()[1]]
        self.assertEqual(found.pid, os.getpid())
        self.assertIn(f"(process {os.getpid()})", str(found))
        self.assertEqual(str(Listener()), "another program")

    def test_names(self) -> None:
        """Only names that can lead somewhere in public are looked up."""
        app = App(cwd="/", port=1, domains=("a.test", "*.b.example", "b.example", "10.0.0.1"))
        names = public_names({"shop.example": app, "plain": App(cwd="/", port=2)})
        self.assertEqual(names, ["shop.example", "b.example"])

    def test_resolved(self) -> None:
        """Names are looked up at once, and a resolver that is silent holds nobody up."""
        release = gathering.threading.Event()
        self.addCleanup(release.set)

        def look(name: str, *_: object, **__: object) -> list[Any]:
            if name == "silent.example":
                release.wait(60)
            if name == "gone.example":
                raise socket.gaierror(-2, "Name or service not known")
            return [(0, 0, 0, "", ("192.0.2.1", 0))]

        self.patch(gathering.socket, "getaddrinfo", look)
        self.patch(gathering, "RESOLVE_SECONDS", 2)  # time for two threads
        found = resolved(["a.example", "gone.example", "silent.example"])
        self.assertEqual(found["a.example"], frozenset({"192.0.2.1"}))
        self.assertEqual(found["gone.example"], "Name or service not known")
        self.assertIn("no answer", found["silent.example"])

    def test_loads_at_boot(self) -> None:
        """A module is there after a boot if it is built in, or if a file names it."""
        root = Path(self.mktemp())
        self.assertTrue(loads_at_boot("tls", root))
        for name, text in (("proc/modules", "tls 1 0"), ("etc/modules-load.d/a.conf", "# tls\nx")):
            (root / name).parent.mkdir(parents=True)
            (root / name).write_text(text)
        self.assertFalse(loads_at_boot("tls", root))
        (root / "etc/modules-load.d/ood.conf").write_text("# by ood\ntls\n")
        self.assertTrue(loads_at_boot("tls", root))

    def test_owned(self) -> None:
        """Modes are those of the files."""
        home = Home(self.home)
        home.open()
        self.addCleanup(home.close)
        found = owned(self.home, (".", "run", "nothing"))
        self.assertEqual({*found}, {".", "run"})
        mode = 0o711 if os.geteuid() == 0 else 0o700
        self.assertEqual((found["."].mode, found["."].ours), (mode, True))


class CommandTests(CliCase):
    """The command."""

    def setUp(self) -> None:
        super().setUp()
        home = Path(self.mktemp()).absolute()
        self.patch(os, "environ", {**os.environ, "OOD_HOME": str(home)})

    def test_service_is_asked(self) -> None:
        """With a service its apps are looked at."""
        self.ood("start", "shop.example")
        self.controller.trouble = ("port 3001 is in use",)
        result = self.ood("doctor")
        self.assertEqual(result.status, 1)
        self.assertIn("shop.example is online: port 3001 is in use", result.out)
        self.assertIn("→ ood status shop.example", result.out)

    def test_service_is_down(self) -> None:
        """Without one the rest is looked at all the same."""
        self.token = "wrong"
        result = self.ood("doctor", "--json")
        self.assertEqual(result.status, 1)
        checks = {finding["check"] for finding in result.value["findings"]}
        self.assertLessEqual({"service", "config", "disk", "files", "ports"}, checks)
        self.assertEqual(set(result.value["findings"][0]), {"level", "check", "text", "fix"})

    def report(self, facts: Facts) -> str:
        out = io.StringIO()
        report(Output(out, out), facts)
        return out.getvalue()

    def test_all_is_well(self) -> None:
        """A healthy machine is said to be so, and nothing is raised."""
        self.assertTrue(self.report(HEALTHY).endswith("\nAll is well.\n"))
        warned = Facts(**{**vars(HEALTHY), "synchronised": False})
        self.assertIn("Nothing fails; 1 warning.", self.report(warned))

    def test_failure(self) -> None:
        """What fails is counted."""
        facts = Facts(**{**vars(HEALTHY), "open_files": 10, "synchronised": False})
        error = self.assertRaises(UnhealthyError, self.report, facts)
        self.assertEqual(error.message, "1 failure and 1 warning")
