"""Simulated histories: a few hundred here, ten thousand at night.

``OOD_RAFT_HISTORIES=10000`` is the nightly form; a failure names its seed, and
``python -m ood.raft.simulate --seed N`` plays it again.
"""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from ood.raft import simulate
from ood.raft.sim.history import play

HISTORIES = int(os.environ.get("OOD_RAFT_HISTORIES", "500"))

FIRST_SEED = int(os.environ.get("OOD_RAFT_FIRST_SEED", "1"))


class SimulationTests(SynchronousTestCase):
    """Whole clusters under random faults keep every promise."""

    def test_histories(self) -> None:
        """No promise is broken, and the histories are worth something."""
        results = [play(seed) for seed in range(FIRST_SEED, FIRST_SEED + HISTORIES)]
        self.assertEqual([(r.seed, r.problem) for r in results if r.problem], [])
        average = sum(result.answered for result in results) / len(results)
        self.assertGreater(average, 50, "clients hardly got an answer")
        self.assertGreater(sum(result.leaders > 1 for result in results), len(results) // 2)

    def test_a_seed_is_a_history(self) -> None:
        """The same seed plays the same history, step for step."""
        self.assertEqual(play(7), play(7))
        self.assertNotEqual(play(7).steps, play(8).steps)


class CommandTests(SynchronousTestCase):
    """``python -m ood.raft.simulate``."""

    def test_reports(self) -> None:
        """It plays the seeds it is given and says what came of them."""
        output = io.StringIO()
        with redirect_stdout(output):
            status = simulate.main(["--seed", "3", "--histories", "2", "--verbose"])
        self.assertEqual(status, 0)
        self.assertIn("seed 3: ", output.getvalue())
        self.assertIn("seed 4: ", output.getvalue())
        self.assertIn("all promises kept", output.getvalue())
