"""What is made of the words of commands that fail while a release is made."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from ood.procmon.core.heard import LINES_KEPT, Heard


def heard(lines: Iterable[str]) -> Heard:
    result = Heard()
    for line in lines:
        result.take(line)
    return result


class HeardTests(SynchronousTestCase):
    """The reason, and the lines that go with it."""

    def test_reasons(self) -> None:
        """Known words give a reason; unknown ones lead to the lines themselves."""
        for line, reason in (
            ("npm error code ENOSPC", "the disk is full"),
            ("fatal: couldn't find remote ref v9", "no such branch"),
            ("git@x: Permission denied (publickey).", "refuses the app's user"),
            ("fatal: detected dubious ownership in repository", "another user"),
            ("cp: cannot open 'x': Permission denied", "may not do that"),
            ("npm error code EUSAGE", "do not fit together"),
            (" ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with it", "do not fit together"),
            ("Host key verification failed.", "SSH key"),
            ("fatal: unable to access 'x': Couldn't connect to server", "can't be reached"),
            ("boom", ""),
        ):
            self.assertIn(reason, heard(["first", line]).explain()[0])

    def test_options(self) -> None:
        """npm's page of options, which follows what was wrong, hides neither it nor the reason."""
        missing = [f"npm error Missing: p{number}@1.0.0 from lock file" for number in range(50)]
        options = [f"npm error   --option-{number}" for number in range(80)]
        result = heard(
            [
                "npm error code EUSAGE",
                *missing,
                "npm error Usage:",
                *options,
                'npm error Run "npm help ci" for more info',
                "npm error A complete log of this run can be found in: /x",
            ]
        )
        self.assertIn("do not fit together", result.explain()[0])
        self.assertEqual(result.lines[0], "npm error code EUSAGE")
        self.assertEqual(result.lines[-2], missing[-1])
        self.assertEqual(len(result.lines), LINES_KEPT + 1)

    def test_last_lines_first(self) -> None:
        """What stands far above counts only if it was an error, and nothing below says more."""
        rest = ["x"] * LINES_KEPT
        self.assertEqual(heard(["warning: EACCES", *rest]).explain()[0], "")
        result = heard(["npm error code EUSAGE", *rest, "npm error ENOSPC"])
        self.assertEqual(result.explain()[0], "the disk is full")
        self.assertEqual(result.lines[-1], "npm error ENOSPC")
