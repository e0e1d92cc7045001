"""The scenarios in ``tests/procmon/restarts``: what is decided about one death after another."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ood.procmon.core import restart

SCENARIOS = Path(__file__).parent / "restarts"
DEATH = re.compile(r"dies ([\d.]+)( unanswered)?: (\S+) (\S+)")
STARTED = 1000.0


class Scenario:
    """Plays one file.

    :ivar history: what is remembered of the deaths so far.
    """

    def __init__(self) -> None:
        self.history = restart.History()
        self.limits("")

    def limits(self, text: str) -> None:
        """Take what a line of limits says."""
        said = dict(pair.split("=") for pair in text.split())
        self.chance = float(said.pop("chance", "0.5"))
        self.now = restart.Limits(
            min_uptime=float(said.pop("minUptime", "1")),
            max_restarts=int(said.pop("maxRestarts", "16")),
            first_delay=float(said.pop("firstDelay", "0.1")),
            least_delay=float(said.pop("leastDelay", "0")),
            autorestart=said.pop("autorestart", "yes") == "yes",
        )
        assert not said, said

    def dies(self, uptime: float, answered: bool) -> str:
        """Decide about a death; return state and pause as the files write them."""
        death = restart.Exit(STARTED, was_online=answered)
        now = STARTED + uptime
        decision = restart.decide(self.history, death, now, self.now, self.chance)
        self.history = decision.history
        delay = "never" if decision.delay is None else f"{decision.delay:g}"
        return f"{decision.state} {delay}"


class ScenarioTests(SynchronousTestCase):
    """Every scenario goes as its file says."""

    def play(self, path: Path) -> int:
        """Play a file; return how many deaths it has."""
        scenario, deaths = Scenario(), 0
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.startswith("limits "):
                scenario.limits(line.removeprefix("limits "))
            elif line and not line.startswith("#"):
                found = DEATH.fullmatch(line)
                assert found is not None, f"{path.name}:{number}: {line}"
                decided = scenario.dies(float(found[1]), answered=found[2] is None)
                self.assertEqual(decided, f"{found[3]} {found[4]}", f"{path.name}:{number}")
                deaths += 1
        return deaths

    def test_scenarios(self) -> None:
        """Each death is decided as the line says."""
        paths = sorted(SCENARIOS.glob("*.txt"))
        self.assertGreaterEqual(len(paths), 7)
        for path in paths:
            self.assertGreater(self.play(path), 0, path.name)
