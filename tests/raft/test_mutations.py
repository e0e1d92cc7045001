"""The planted bugs still fit the code; ``scripts/raft-mutations`` shows that each is noticed."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ood.raft.core
from tests.raft.mutations import MUTATIONS

CORE = Path(ood.raft.core.__file__).parent


class MutationTests(SynchronousTestCase):
    """A list that no longer fits the code would grade nothing."""

    def test_every_bug_can_be_planted(self) -> None:
        """The text each bug replaces occurs exactly once, and the result compiles."""
        for mutation in MUTATIONS:
            text = (CORE / mutation.file).read_text()
            self.assertEqual(text.count(mutation.old), 1, mutation.name)
            compile(text.replace(mutation.old, mutation.new), mutation.file, "exec")

    def test_there_are_enough(self) -> None:
        """At least 25 bugs, each with a name of its own, and all of the numbered list."""
        names = [mutation.name for mutation in MUTATIONS]
        self.assertGreaterEqual(len(set(names)), 25)
        self.assertEqual(len(set(names)), len(names))
        numbers = {name[:2] for name in names if name[:2].isdigit()}
        self.assertEqual(numbers, {f"{number:02}" for number in range(1, 28)})
