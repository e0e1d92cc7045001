"""Smaller parts: the DNS hook, the diagnosis, the account's settings."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

import ood.plugins
from ood.certs import dnshook
from ood.certs.acme import Acme
from ood.certs.client import Challenge
from ood.certs.diagnose import diagnose, is_ours, lookup
from ood.certs.dnshook import DnsHookResponder
from ood.certs.errors import AcmeError, CertificateError
from ood.certs.journal import Journal
from ood.certs.responders import HttpResponder, TlsResponder
from ood.certs.session import Binding
from ood.certs.store import DirectoryStore
from ood.clock import MonotonicClock, wall_time
from ood.model.document import Settings

HOOK = """
import os, sys, time
names = ("OOD_ACME_ACTION", "OOD_ACME_NAME", "OOD_ACME_VALUE")
assert [os.environ[name] for name in names] == sys.argv[2:], sys.argv
assert "OOD_TEST_SECRET" not in os.environ
with open(sys.argv[1], "a") as log:
    log.write(" ".join(sys.argv[2:4]) + chr(10))
if "slow" in sys.argv[3]:
    time.sleep(600)
if "bad" in sys.argv[3] and sys.argv[2] == "add":
    sys.exit("the zone is closed; $(touch evil)")
"""


PLUGIN = """
from twisted.plugin import IPlugin
from zope.interface import implementer
from ood.certs.interfaces import IResponder

@implementer(IPlugin, IResponder)
class Pigeon:
    name = "pigeon"
    challenge_type = "dns-01"

    def start_responding(self, server_name, challenge, response):
        pass

    def stop_responding(self, server_name, challenge, response):
        pass

pigeon = Pigeon()
"""


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class HookTests(TestCase):
    """A command sets and removes records."""

    timeout = 60

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        script = self.directory / "hook.py"
        script.write_text(HOOK)
        self.log = self.directory / "log"
        self.command = (sys.executable, str(script), str(self.log))
        self.hook = self.make()

    def make(self) -> DnsHookResponder:
        journal = self.directory / "dns.json"
        clock = MonotonicClock(reactor)
        return DnsHookResponder(reactor, clock, self.command, journal)

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def test_add_and_remove(self) -> Deferred[None]:
        """A wildcard's record is that of its parent; the environment says the same."""

        async def work() -> None:
            challenge = Challenge("dns-01", "token", "thumb")
            await self.hook.start_responding("*.example.com", challenge, challenge)
            await self.hook.stop_responding("*.example.com", challenge, challenge)
            await self.hook.stop_responding("*.example.com", challenge, challenge)
            name = "_acme-challenge.example.com"
            self.assertEqual(self.lines(), [f"add {name}", f"remove {name}"])

        return Deferred.fromCoroutine(work())

    def test_failure(self) -> Deferred[None]:
        """The command's last words are the reason; nothing of them reaches a shell."""

        async def work() -> None:
            challenge = Challenge("dns-01", "token", "thumb")
            with self.assertRaises(AcmeError) as caught:
                await self.hook.start_responding("bad.example.com", challenge, challenge)
            self.assertIn("the zone is closed", str(caught.exception))
            self.command = ("/nowhere/hook",)
            with self.assertRaises(AcmeError) as caught:
                await self.make().start_responding("a.example.com", challenge, challenge)
            self.assertIn("no program /nowhere/hook", str(caught.exception))

        return Deferred.fromCoroutine(work())

    def test_left_behind(self) -> Deferred[None]:
        """What a crash has left in the DNS is removed by the next run."""

        async def work() -> None:
            challenge = Challenge("dns-01", "token", "thumb")
            await self.hook.start_responding("a.example.com", challenge, challenge)
            again = self.make()
            await again.remove_leftovers()
            self.assertEqual(self.lines()[-1], "remove _acme-challenge.a.example.com")
            await self.make().remove_leftovers()
            self.assertEqual(len(self.lines()), 2)

        return Deferred.fromCoroutine(work())

    def shell(self, words: str) -> DnsHookResponder:
        """Return a hook that a shell runs, as most are."""
        script = self.directory / "hook.sh"
        script.write_text(f"#!/bin/sh\necho $1 $2 >> {self.log}\n{words}\n")
        script.chmod(0o755)
        self.command = (str(script),)
        return self.make()

    def test_hangs(self) -> Deferred[None]:
        """A shell whose program hangs is ended in time, and the program with it."""
        clock, pid_file = Clock(), self.directory / "pid"
        self.shell(f"sleep 3000 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait")
        hook = DnsHookResponder(reactor, clock, self.command, self.directory / "dns.json")

        async def work() -> None:
            challenge = Challenge("dns-01", "token", "thumb")
            started = hook.start_responding("a.example.com", challenge, challenge)
            while not pid_file.exists():
                await deferLater(reactor, 0.02)
            clock.advance(dnshook.ADD_SECONDS)
            with self.assertRaises(AcmeError) as caught:
                await started
            self.assertIn("it took longer than 600 s", str(caught.exception))
            while _runs(int(pid_file.read_text())):  # it is killed, and may need a moment
                await deferLater(reactor, 0.02)

        return Deferred.fromCoroutine(work())

    def test_hangs_at_a_stop(self) -> Deferred[None]:
        """The same when the service stops meanwhile."""

        async def work() -> None:
            hook = self.shell("sleep 3000")
            challenge = Challenge("dns-01", "token", "thumb")
            started = hook.start_responding("a.example.com", challenge, challenge)
            while not self.lines():
                await deferLater(reactor, 0.02)
            started.cancel()
            with self.assertRaises(CancelledError):
                await started

        return Deferred.fromCoroutine(work())

    def test_leaves_a_program(self) -> Deferred[None]:
        """A hook may leave something running: that it holds the output keeps nobody waiting."""
        self.patch(dnshook, "END_SECONDS", 0.1)

        async def work() -> None:
            hook = self.shell(f"sleep 3000 & echo $! > {self.directory}/pid")
            challenge = Challenge("dns-01", "token", "thumb")
            await hook.start_responding("a.example.com", challenge, challenge)
            os.kill(int((self.directory / "pid").read_text()), signal.SIGKILL)

        return Deferred.fromCoroutine(work())

    def test_cancelled(self) -> Deferred[None]:
        """A stop ends a command that takes long, and waits until it is gone."""

        async def work() -> None:
            challenge = Challenge("dns-01", "token", "thumb")
            started = self.hook.start_responding("slow.example.com", challenge, challenge)
            while not self.lines():
                await deferLater(reactor, 0.02)
            started.cancel()
            with self.assertRaises(CancelledError):
                await started

        return Deferred.fromCoroutine(work())


class DiagnosisTests(SynchronousTestCase):
    """What may be wrong with a name."""

    def said(self, name: str, addresses: list[str]) -> str:
        def ours(address: str) -> bool:
            return address.startswith("127.")

        found = Deferred.fromCoroutine(diagnose(name, lambda _: succeed(addresses), ours))
        return self.successResultOf(found)

    def test_reasons(self) -> None:
        """It does not resolve, it leads elsewhere, or nothing is found."""
        self.assertIn("does not resolve", self.said("a.de", []))
        elsewhere = self.said("a.de", ["203.0.113.7", "127.0.0.1"])
        self.assertIn("resolves to 203.0.113.7, not to this host", elsewhere)
        self.assertEqual(self.said("a.de", ["127.0.0.1"]), "")
        self.assertEqual(self.said("*.a.de", []), "")

    def test_addresses(self) -> None:
        """This machine knows its own addresses; a name that can't be is no fault."""
        self.assertTrue(is_ours("127.0.0.1"))
        self.assertFalse(is_ours("203.0.113.7"))
        self.assertFalse(is_ours("2001:db8::7"))
        self.assertIn("127.0.0.1", lookup("localhost"))
        self.assertEqual(lookup("a" * 300 + ".invalid"), [])


class SettingsTests(SynchronousTestCase):
    """What the settings ask of a CA."""

    def make(self, **settings: object) -> Acme:
        directory = Path(self.mktemp()).absolute()
        return Acme(
            directory,
            reactor,
            Clock(),
            wall_time,
            Settings(**settings),
            store=DirectoryStore(directory / "acme"),
            journal=Journal(directory),
            responders=(HttpResponder(), TlsResponder(wall_time)),
            changed=lambda _: None,
        )

    def refused(self, **settings: object) -> str:
        with self.assertRaises((CertificateError, AcmeError)) as caught:
            self.make(**settings)
        return str(caught.exception)

    def test_account_key(self) -> None:
        """Each CA has an account of its own, whose key stays."""
        acme = self.make()
        again = Acme._account_key(acme, "https://a.example/dir").thumbprint
        self.assertEqual(Acme._account_key(acme, "https://a.example/dir").thumbprint, again)
        self.assertNotEqual(Acme._account_key(acme, "https://b.example/dir").thumbprint, again)

    def test_binding(self) -> None:
        """Half of a binding, a secret that others can read, or none at all, is refused."""
        self.assertIn("go together", self.refused(acme_eab_kid="a"))
        secret = Path(self.mktemp()).absolute()
        pair = {"acme_eab_kid": "a", "acme_eab_key_file": str(secret)}
        self.assertIn("can't be read", self.refused(**pair))
        secret.write_text("c2VjcmV0")
        secret.chmod(0o640)
        self.assertIn(f"chmod 600 {secret}", self.refused(**pair))
        secret.chmod(0o600)
        self.make(**pair)
        self.assertNotIn("c2VjcmV0", repr(Binding("a", "c2VjcmV0")))

    def test_roots(self) -> None:
        """A file of roots that is none is named."""
        self.assertIn("/nowhere", self.refused(acme_ca_file="/nowhere"))

    def test_plugin(self) -> None:
        """A way to prove names that somebody else wrote is found by its name."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "pigeon.py").write_text(PLUGIN)
        self.patch(ood.plugins, "__path__", [*ood.plugins.__path__, str(directory)])
        self.addCleanup(sys.modules.pop, "ood.plugins.pigeon", None)
        acme = self.make(acme_challenges=("http-01", "pigeon", "dns-01"))
        types = [one.challenge_type for one in acme.service._responders]
        self.assertEqual(types, ["http-01", "dns-01"])

    def test_unknown_challenge(self) -> None:
        """A challenge that no plugin answers is an error with its name."""
        with self.assertRaises(Exception) as caught:
            self.make(acme_challenges=("carrier-pigeon",))
        self.assertIn("carrier-pigeon", str(caught.exception))
