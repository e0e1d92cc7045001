"""``ood --host``: through a real sshd to a real API; what can go wrong is said in plain words."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ood.cli.remote import PLAIN_WORDS, SCRIPT, SshError, check_host
from tests.cli.process import ProcessCase
from tests.support.ood import wait_until
from tests.support.ports import free_ports

SSHD = shutil.which("sshd", path=f"/usr/sbin:{os.environ.get('PATH', '')}")
SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
PidFile {directory}/pid
AuthorizedKeysFile {directory}/user.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
"""
CLIENT = """
Host other locked
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentitiesOnly yes
  UserKnownHostsFile {directory}/known
  StrictHostKeyChecking accept-new
Host other
  IdentityFile {directory}/user
Host silent
  HostName 127.0.0.1
  Port {nobody}
"""


class RemoteTests(ProcessCase):
    """Another machine, which is this one."""

    async def _start(self) -> None:
        if SSHD is None or shutil.which("ssh") is None:
            raise SkipTest("sshd or ssh is not installed (openssh-server)")
        await super()._start()
        self.directory = Path(tempfile.mkdtemp(prefix="ood-ssh-"))
        self.addCleanup(shutil.rmtree, self.directory)
        port, nobody = free_ports(2)
        for name in ("host", "user"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / name]
            subprocess.run(words, check=True)
        values = {"directory": self.directory, "port": port, "nobody": nobody}
        (self.directory / "sshd_config").write_text(SERVER.format(**values))
        (self.directory / "config").write_text(CLIENT.format(user=getpass.getuser(), **values))
        wrapper = self.directory / "ssh"
        wrapper.write_text(
            f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.directory}/config "$@"\n'
        )
        wrapper.chmod(0o755)
        self.patch(os, "environ", {**os.environ, "PATH": f"{self.directory}:{os.environ['PATH']}"})
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        log = (self.directory / "log").open("wb")
        self.addCleanup(log.close)
        server = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(self.directory / "sshd_config")], stderr=log
        )
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        wait_until(lambda: b"listening" in (self.directory / "log").read_bytes(), "sshd listens")

    async def remote(self, *words: str, host: str = "other") -> tuple[int, str, str]:
        there = ("--host", host, "--home", str(self.home))
        return await self.ood(*there, *words, home=Path("/nowhere"))

    async def test_a_day(self) -> None:
        """Commands work as they do here, logs that are followed among them."""
        for line, text in (
            ("start shop.example", "is online"),
            ("status", "4001"),
            ("config -a shop.example -s env.MODE x", "env.MODE  x"),
            ("log shop.example", "first"),
            ("--json status shop.example", '"online"'),
        ):
            status, out, err = await self.remote(*line.split())
            self.assertEqual((status, err), (0, ""), line)
            self.assertIn(text, out)
        command = self.spawn(
            "log", "shop.example", "-f", "--host", "other", "--home", str(self.home)
        )
        await command.until(b"first")
        self.controller.log("shop.example", "second")
        await command.until(b"second")

    async def test_a_long_place(self) -> None:
        """A TMPDIR whose name is too long for sockets is no obstacle."""
        long = self.directory / ("x" * 100)
        long.mkdir()
        self.patch(os, "environ", {**os.environ, "TMPDIR": str(long)})
        status, _, err = await self.remote("status")
        self.assertEqual((status, err), (0, ""))

    async def test_nothing_is_left(self) -> None:
        """When a command has ended, ssh and its sockets are gone."""
        self.patch(os, "environ", {**os.environ, "TMPDIR": str(self.directory)})
        status, _, _ = await self.remote("status")
        self.assertEqual(status, 0)
        self.assertEqual(list(self.directory.glob("ood-*")), [])

    async def test_page(self) -> None:
        """``ood web`` keeps the tunnel open, on the same port that the page has there."""
        taken = await self.remote("web", "--no-open")  # the service itself has that port here
        self.assertEqual(taken[0], 1)
        self.assertIn("no tunnel to other", taken[2])

    async def test_failures(self) -> None:
        """Whoever can't get in is told why, in a line."""
        for host, words in (
            ("locked", "it does not let you in"),
            ("silent", "no ssh service answers there"),
            ("-oProxyCommand=touch /tmp/x", "is no host"),
        ):
            status, _, err = await self.remote("status", host=host)
            self.assertEqual((status, err.count("\n")), (1, 1), err)
            self.assertIn(words, err)

    async def test_no_ood_there(self) -> None:
        """A machine without ood, or whose ood is down, is told from one that is out of reach."""
        (self.home / "run" / "api.json").unlink()
        status, _, err = await self.remote("status")
        self.assertEqual(status, 1)
        self.assertIn(f"ood is not running on other (home {self.home})", err)
        (self.home / "api-token").unlink()
        status, _, err = await self.remote("status")
        self.assertEqual(status, 1)
        self.assertIn("api-token: No such file", err)
        self.assertIn("log in as who runs ood there", err)

    async def test_here_only(self) -> None:
        """What looks at this machine says where to run it."""
        for line in ("init new.example", "doctor", "import x.json", "install"):
            status, _, err = await self.remote(*line.split())
            self.assertEqual(status, 1, line)
            self.assertIn(f"ssh other ood {line.split()[0]}", err)
        status, _, err = await self.remote("deploy", "shop.example", ".")
        self.assertEqual(status, 1)
        self.assertIn("is on this machine", err)


class ScriptTests(SynchronousTestCase):
    """What runs on the other machine."""

    def run_script(self, *arguments: str, **env: str) -> tuple[int, list[str]]:
        words = ["sh", "-c", SCRIPT, "ood", *arguments]
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, env={"PATH": os.defpath, **env}
        )
        return done.returncode, done.stdout.splitlines()

    def test_homes(self) -> None:
        """The home is the named one, else OOD_HOME, else as fits the user."""
        home = Path(self.mktemp()).absolute() / "a 'b' $HOME"
        (home / "run").mkdir(parents=True)
        (home / "api-token").write_text("secret\n")
        (home / "run" / "api.json").write_text('{"port": 7}\n')
        expected = (0, [str(home), "secret", '{"port": 7}'])
        self.assertEqual(self.run_script(str(home)), expected)
        self.assertEqual(self.run_script("", OOD_HOME=str(home)), expected)
        status, [where] = self.run_script("", HOME="/nowhere")
        own = "/var/lib/ood" if os.geteuid() == 0 else "/nowhere/.ood"
        self.assertEqual((status in {0, 3, 4}, where), (True, own))


class WordsTests(SynchronousTestCase):
    """Hosts, and what ssh says."""

    def test_hosts(self) -> None:
        """What ssh would take for an option, or for several words, is no host."""
        for host in ("server", "user@server", "ssh://user@server:2222", "::1"):
            check_host(host)
        for host in ("", "-oProxyCommand=x", "a b", "a\nb"):
            self.assertRaises(SshError, check_host, host)

    def test_hints(self) -> None:
        """Every hint can be filled in."""
        for _, meaning, hint in PLAIN_WORDS:
            self.assertTrue(meaning and hint.format(host="server"))
