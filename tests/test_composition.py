"""The service as a whole: how a start that fails ends."""

from pathlib import Path

from twisted.application.service import Service
from twisted.trial.unittest import SynchronousTestCase

from ood.composition import OodService
from ood.errors import StartupError
from ood.home import Home
from ood.net.supervisor import Supervisor


class Broken(Service):
    """A part that can't be started."""

    def startService(self):
        raise StartupError("can't write /x: No space left on device", "make room on the disk")


class Starting(SynchronousTestCase):
    """:meth:`OodService.startService`."""

    def test_part_that_can_not_be_started(self):
        """The process ends with one line that says what to do, and nothing is announced."""
        home = Home(Path(self.mktemp()))
        home.open()
        self.addCleanup(home.close)
        service = OodService(home, 2016, Supervisor({}, 0), ())
        Broken().setServiceParent(service)
        error = self.assertRaises(SystemExit, service.startService)
        line = "ood: can't write /x: No space left on device (make room on the disk)"
        self.assertEqual(str(error), line)
        self.assertFalse((home.run / "api.json").exists())
