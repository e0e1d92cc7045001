"""The service as a whole: how a start that fails ends."""

from pathlib import Path

from twisted.application.service import Service
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

import ood
from ood.composition import OodService
from ood.errors import StartupError
from ood.home import Home
from ood.model.document import Settings
from ood.net.supervisor import Supervisor


class Broken(Service):
    """A part that can't be started."""

    def startService(self):
        raise StartupError("can't write /x: No space left on device", "make room on the disk")


class Starting(SynchronousTestCase):
    """:meth:`OodService.startService`."""

    def test_what_is_ready(self):
        """Who reads the terminal or the journal sees which ood serves, and where."""
        said = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        home = Home(Path(self.mktemp()))
        home.open()
        self.addCleanup(home.close)
        settings = Settings(http_port=8000, https_port=0)
        OodService(home, settings, Supervisor({}, 0)).startService()
        line = f"ood {ood.__version__} is ready: HTTP on port 8000, HTTPS on port none, home "
        self.assertEqual(formatEvent(said[-1]), f"{line}{home.path}")

    def test_part_that_can_not_be_started(self):
        """The process ends with one line that says what to do, and nothing is announced."""
        home = Home(Path(self.mktemp()))
        home.open()
        self.addCleanup(home.close)
        service = OodService(home, Settings(), Supervisor({}, 0))
        Broken().setServiceParent(service)
        error = self.assertRaises(SystemExit, service.startService)
        line = "ood: can't write /x: No space left on device (make room on the disk)"
        self.assertEqual(str(error), line)
        self.assertFalse((home.run / "api.json").exists())
