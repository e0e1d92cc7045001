"""Every script beside this file is one test: a bug that others had, or one promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ood.raft.sim.script import Script

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


def _case(path: Path) -> Callable[[SynchronousTestCase], None]:
    def test(self: SynchronousTestCase) -> None:
        Script().run(path.read_text())

    test.__doc__ = path.read_text().split("\n")[0].lstrip("# ")
    return test


class ScenarioTests(SynchronousTestCase):
    """The directed scenarios; a number in a name is that of the design's list of bugs."""

    def test_every_named_bug_has_a_scenario(self) -> None:
        """The list of 27 bugs that other implementations had is covered."""
        numbers = {path.name[:2] for path in SCRIPTS if path.name[:2].isdigit()}
        self.assertEqual(numbers, {f"{number:02}" for number in range(1, 28)})


for _path in SCRIPTS:
    _name = "test_" + _path.stem.replace("-", "_")
    setattr(ScenarioTests, _name, _case(_path))
