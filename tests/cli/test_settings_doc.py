"""The page about settings is what the tables say."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ood.cli.settings_doc import page

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


class PageTests(SynchronousTestCase):
    def test_up_to_date(self) -> None:
        """Run ``python -m ood.cli.settings_doc > docs/settings.md`` when this fails."""
        self.assertEqual(PAGE.read_text(), page())
