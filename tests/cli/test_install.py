"""``ood install``, with a systemctl that only writes down what it is told."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from ood.cli.install import Machine, install, uninstall
from ood.cli.output import Output
from ood.cli.session import Invocation
from ood.cli.systemd import Installation, unit_text
from ood.errors import OodError
from tests.cli.support import CliCase

SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$CALLS"
[ "$1" != "$FAIL" ] || { echo "Unit is masked." >&2; exit 1; }
"""


MODPROBE = """#!/bin/sh
[ "$1 $2 $FAIL" = "-q tls " ]
"""


class InstallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        for name in ("units", "marker", "bin"):
            (self.base / name).mkdir(parents=True)
        for name, text in (("systemctl", SYSTEMCTL), ("modprobe", MODPROBE)):
            tool = self.base / "bin" / name
            tool.write_text(text)
            tool.chmod(0o755)
        self.environ = {
            "PATH": f"{self.base / 'bin'}:{os.environ['PATH']}",
            "CALLS": str(self.base / "calls"),
            "FAIL": "",
        }
        for name, value in self.environ.items():
            self.change(name, value)
        self.waited: list[str | None] = []
        self.machine = Machine(
            self.base / "units",
            self.base / "marker",
            0,
            lambda invocation: self.waited.append(invocation.home),
            self.base / "modules.conf",
        )
        self.out = io.StringIO()
        self.invocation = Invocation(Output(self.out, self.out))

    def change(self, name: str, value: str) -> None:
        before = os.environ.get(name)
        os.environ[name] = value
        if before is None:
            self.addCleanup(os.environ.pop, name, None)
        else:
            self.addCleanup(os.environ.__setitem__, name, before)

    def calls(self) -> list[str]:
        path = self.base / "calls"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text.splitlines()

    def test_install(self) -> None:
        """The unit is written, enabled and started, and the service is waited for."""
        install(self.invocation, self.machine)
        text = self.machine.unit.read_text()
        self.assertIn(" -n --pidfile= ood --home /var/lib/ood\n", text)
        self.assertEqual(
            self.calls(), ["daemon-reload", "enable ood.service", "restart ood.service"]
        )
        self.assertEqual(self.waited, ["/var/lib/ood"])
        self.assertIn("ood init", self.out.getvalue())
        self.assertEqual([path.name for path in self.machine.units.iterdir()], ["ood.service"])

    def test_again(self) -> None:
        """Installing again disturbs nothing; with another home the service starts anew."""
        install(self.invocation, self.machine)
        self.calls()
        install(self.invocation, self.machine)
        self.assertEqual(self.calls()[-1], "start ood.service")
        self.invocation.home = "/srv/ood"
        install(self.invocation, self.machine)
        self.assertEqual(self.calls()[-1], "restart ood.service")
        self.assertIn("--home /srv/ood", self.machine.unit.read_text())

    def test_updated(self) -> None:
        """Another ood at the same place is another service: it is started anew, once."""
        self.machine.package = self.base / "package"
        self.machine.package.mkdir()
        file = self.machine.package / "service.py"
        for moment, verb in ((1_000, "restart"), (1_000, "start"), (2_000, "restart")):
            file.touch()
            for path in (file, self.machine.package):
                os.utime(path, (moment, moment))
            install(self.invocation, self.machine)
            self.assertEqual(self.calls()[-1], f"{verb} ood.service")
        self.assertIn("of 1970-01-01T00:33:20", self.machine.unit.read_text())

    def test_update_that_failed_halfway(self) -> None:
        """The next try starts the new ood: the one that failed has not left it undone."""
        install(self.invocation, self.machine)
        before = self.machine.unit.read_text()
        self.invocation.home = "/srv/ood"  # stands for another ood, too: another unit
        for step in ("daemon-reload", "enable"):
            os.environ["FAIL"] = step
            self.assertRaises(OodError, install, self.invocation, self.machine)
            self.assertEqual(self.machine.unit.read_text(), before)
        os.environ["FAIL"] = ""
        install(self.invocation, self.machine)
        self.assertEqual(self.calls()[-1], "restart ood.service")
        self.assertIn("--home /srv/ood", self.machine.unit.read_text())

    def test_document_that_the_new_ood_can_not_read(self) -> None:
        """The ood that runs goes on: nothing is written, and systemd is told nothing."""
        home = self.base / "home"
        self.invocation.home = str(home)
        home.mkdir()
        install(self.invocation, self.machine)
        before, _ = self.machine.unit.read_text(), self.calls()
        (home / "config.json").write_text('{"schema": 1, "settings": {"ofTomorrow": 1}}')
        self.machine.package = self.base / "package"
        self.machine.package.mkdir()
        (self.machine.package / "another.py").touch()
        error = self.assertRaises(OodError, install, self.invocation, self.machine)
        self.assertIn("config.json can't be used: settings.ofTomorrow", error.message)
        self.assertIn("versions", error.hint)
        self.assertEqual(self.machine.unit.read_text(), before)
        self.assertEqual(self.calls(), [])

    def test_uninstall(self) -> None:
        """The service goes, its data stays, and doing it twice harms nothing."""
        install(self.invocation, self.machine)
        self.calls()
        uninstall(self.invocation, self.machine)
        self.assertEqual(self.calls(), ["disable --now ood.service", "daemon-reload"])
        self.assertFalse(self.machine.unit.exists())
        self.assertIn("/var/lib/ood", self.out.getvalue())
        uninstall(self.invocation, self.machine)
        self.assertEqual(self.calls(), [])

    def test_not_root(self) -> None:
        """Without root it says how."""
        self.machine.user = 1000
        for do, hint in ((install, "sudo ood install"), (uninstall, "--uninstall")):
            error = self.assertRaises(OodError, do, self.invocation, self.machine)
            self.assertIn(hint, error.hint)
        self.assertEqual(self.calls(), [])

    def test_no_systemd(self) -> None:
        """Without systemd it says what to run instead."""
        (self.base / "marker").rmdir()
        error = self.assertRaises(OodError, install, self.invocation, self.machine)
        self.assertIn("no systemd", error.message)
        self.assertIn("-n --pidfile= ood --home /var/lib/ood", error.hint)
        self.assertFalse(self.machine.unit.exists())

    def test_systemctl_fails(self) -> None:
        """What systemctl says is passed on, with where to look."""
        self.change("FAIL", "enable")
        error = self.assertRaises(OodError, install, self.invocation, self.machine)
        self.assertIn("Unit is masked.", error.message)
        self.assertIn("journalctl", error.hint)

    def test_kernel_tls(self) -> None:
        """The kernel's module for TLS is loaded now and at each boot, until ood goes."""
        install(self.invocation, self.machine)
        self.assertEqual(self.machine.modules.read_text().splitlines()[-1], "tls")
        uninstall(self.invocation, self.machine)
        self.assertFalse(self.machine.modules.exists())

    def test_no_kernel_tls(self) -> None:
        """A kernel without it is no reason not to install, and no boot complains of it."""
        self.change("FAIL", "modprobe")
        self.invocation.output.json = True
        install(self.invocation, self.machine)
        self.assertFalse(self.machine.modules.exists())
        self.assertIn('"kernelTls": false', self.out.getvalue())

    def test_unwritable(self) -> None:
        """A directory that can't be written to is named."""
        self.machine.units = self.base / "missing"
        error = self.assertRaises(OodError, install, self.invocation, self.machine)
        self.assertIn("missing/ood.service", error.message)

    def test_json(self) -> None:
        """Programs get JSON."""
        self.invocation.output.json = True
        install(self.invocation, self.machine)
        self.assertIn('"changed": true', self.out.getvalue())


class UnitTests(SynchronousTestCase):
    """The unit file is right."""

    def text(self, **changes: Any) -> str:
        places = {"twistd": Path("/bin/true"), "home": Path("/var/lib/ood"), "node": None}
        return unit_text(Installation(**{**places, **changes}))

    def test_odd_paths(self) -> None:
        """Paths with letters that systemd gives a meaning to stay what they are."""
        text = self.text(home=Path('/srv/a b/100%/"$x"'))
        self.assertIn('--home "/srv/a b/100%%/\\"$$x\\""\n', text)

    def test_search_path(self) -> None:
        """Node is found where it was found, and each directory once."""
        text = self.text(node=Path("/opt/node/bin/node"), twistd=Path("/usr/bin/twistd"))
        [line] = [line for line in text.splitlines() if line.startswith("Environment=PATH=")]
        self.assertTrue(line.endswith(":/bin:/opt/node/bin"), line)
        self.assertEqual(line.count("/usr/bin"), 1)

    def test_apps_survive(self) -> None:
        """Nothing in it keeps apps from writing to their directories, compiling, or living."""
        text = self.text()
        for harmful in ("MemoryDenyWriteExecute=yes", "ProtectHome=yes", "ProtectSystem=strict"):
            self.assertNotIn(harmful, text)
        for needed in ("OOMPolicy=continue", "KillMode=mixed", "Restart=always"):
            self.assertIn(needed, text)

    def test_systemd_reads_it(self) -> None:
        """systemd itself finds nothing to complain about."""
        tool = shutil.which("systemd-analyze")
        if tool is None:
            raise SkipTest("no systemd-analyze here")
        directory = Path(self.mktemp())
        directory.mkdir()
        unit = directory / "ood.service"
        unit.write_text(self.text(home=Path("/srv/a b")))
        done = subprocess.run(
            [tool, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
        )
        complaints = [line for line in done.stderr.splitlines() if "ood.service" in line]
        self.assertEqual((complaints, done.returncode), ([], 0), done.stderr)


class CommandTests(CliCase):
    def test_not_root_or_no_systemd(self) -> None:
        """The command itself ends with status 1 and one line where it can't be done."""
        if os.geteuid() == 0 and Path("/run/systemd/system").is_dir():
            raise SkipTest("it could be done here")
        result = self.ood("install")
        self.assertEqual((result.status, result.err.count("\n")), (1, 1))
