"""Which ends of workers that are being stopped are deaths."""

from __future__ import annotations

import signal

from twisted.trial.unittest import SynchronousTestCase

from ood.procmon.workers.passing import as_asked

TERM, KILL = {signal.SIGTERM}, {signal.SIGTERM, signal.SIGKILL}


class AskedTests(SynchronousTestCase):
    def test_ends(self) -> None:
        """What ood told it to, or somebody else politely, is none; faults are."""
        for code, number, sent, thrown, expected in (
            (0, None, set(), False, True),
            (0, None, TERM, False, True),
            (1, None, TERM, False, True),
            (143, None, TERM, False, True),
            (1, None, set(), False, False),
            (1, None, TERM, True, False),
            (None, signal.SIGTERM, TERM, False, True),
            (None, signal.SIGTERM, set(), False, True),
            (None, signal.SIGUSR2, {signal.SIGUSR2}, False, True),
            (None, signal.SIGUSR2, TERM, False, False),
            (None, signal.SIGKILL, KILL, False, True),
            (None, signal.SIGKILL, TERM, False, False),
            (None, signal.SIGKILL, set(), False, False),
            (None, signal.SIGABRT, TERM, False, False),
            (None, signal.SIGSEGV, TERM, False, False),
        ):
            found = as_asked(code, number, sent, thrown=thrown)
            self.assertEqual(found, expected, (code, number, sent, thrown))
