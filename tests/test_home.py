"""ood's home: who may look at it, and one service to a home."""

import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from unittest import SkipTest

from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ood.errors import StartupError
from ood.home import Home
from ood.paths import default_home

STRANGER = 54321
"""A user that owns nothing."""


class Opening(SynchronousTestCase):
    """What :meth:`Home.open` makes and what it refuses."""

    def setUp(self):
        self.path = Path(self.mktemp()).absolute()
        self.home = Home(self.path)
        self.addCleanup(self.home.close)

    def mode(self, path):
        return stat.S_IMODE(path.stat().st_mode)

    def test_modes(self):
        """Logs are for ood's user; others pass through to the sockets only for root."""
        previous = os.umask(0)
        self.addCleanup(os.umask, previous)
        self.home.open()
        passage = 0o711 if os.geteuid() == 0 else 0o700
        self.assertEqual(
            [self.mode(path) for path in (self.path, self.home.run, self.home.logs)],
            [passage, passage, 0o700],
        )

    def test_one_service(self):
        """A second service on the same home is told who has it."""
        self.home.open()
        self.home.announce(2016)
        second = Home(self.path)
        error = self.assertRaises(StartupError, second.open)
        self.assertIn(f"(process {os.getpid()})", error.message)
        second.close()
        self.assertTrue((self.home.run / "api.json").exists())
        self.home.close()
        second.open()
        second.close()

    def test_announcement(self):
        """The CLI finds the API's port while the service runs, and only then."""
        self.home.open()
        self.home.announce(2017)
        file = self.home.run / "api.json"
        self.assertEqual(json.loads(file.read_text()), {"port": 2017, "pid": os.getpid()})
        self.home.close()
        self.assertFalse(file.exists())

    def test_announcement_that_cannot_be_written(self):
        """On a full disk ood goes on: it says so, and an old announcement leads nobody astray."""
        self.home.open()
        self.home.announce(2017)
        (self.home.run / ".api.json.new").mkdir()  # stands for a disk that takes nothing
        said = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        self.home.announce(2018)
        self.assertFalse((self.home.run / "api.json").exists())
        self.assertIn("api.json", formatEvent(said[-1]))

    def test_no_place_for_it(self):
        """A home that can't be made is one clear error that names it."""
        file = Path(self.mktemp())
        file.write_text("")
        error = self.assertRaises(StartupError, Home(file / "home").open)
        self.assertIn(str(file), error.message)
        self.assertIn("--home", error.hint)

    def test_certificates_that_can_not_be_read(self):
        """A directory of ood's own is made its own again, and one of others is named."""
        certificates = self.path / "certs"
        certificates.mkdir(parents=True)
        certificates.chmod(0)
        self.home.open()
        self.assertEqual(self.mode(certificates), 0o700)
        self.home.close()
        certificates.rmdir()
        certificates.write_text("")
        error = self.assertRaises(StartupError, self.home.open)
        self.assertIn(str(certificates), error.message)

    def test_directory_of_another_user(self):
        """After a start by root it is said who can mend what: not by another home."""
        if os.geteuid() != 0:
            raise SkipTest("only root can give directories to others and be one of them")
        path = Path(tempfile.mkdtemp(prefix="ood-home-", dir="/tmp"))  # everybody gets there
        self.addCleanup(shutil.rmtree, path)
        (path / "certs").mkdir(mode=0o700)
        os.chown(path, STRANGER, STRANGER)
        os.seteuid(STRANGER)
        try:
            error = self.assertRaises(StartupError, Home(path).open)
        finally:
            os.seteuid(0)
        self.assertIn("certs: Permission denied", error.message)
        self.assertIn(f"chown -R --reference={path} {path}", error.hint)

    def test_default(self):
        """OOD_HOME names it; else it depends on who runs ood."""
        self.patch(os, "environ", {**os.environ, "OOD_HOME": "/srv/ood"})
        self.assertEqual(default_home(), Path("/srv/ood"))
        self.patch(os, "environ", {"HOME": "/home/test"})
        expected = "/var/lib/ood" if os.geteuid() == 0 else "/home/test/.ood"
        self.assertEqual(default_home(), Path(expected))
