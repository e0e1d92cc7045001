"""Values for people."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.cli.output import Output, plain_table
from ood.cli.text import count, duration, size, spell, visible


class VisibleTests(SynchronousTestCase):
    @given(st.text())
    def test_harmless(self, text: str) -> None:
        """Nothing that reaches a terminal is a command to it, or more than one line."""
        shown = visible(text)
        for character in shown:
            code = ord(character)
            self.assertFalse(code < 32 or 127 <= code < 160 or 0x202A <= code <= 0x202E, shown)

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
    def test_plain_text_stays(self, text: str) -> None:
        """Plain text is what it was."""
        self.assertEqual(visible(text), text)

    def test_colours_go(self) -> None:
        """Colours leave no trace; other sequences are spelled out."""
        self.assertEqual(visible("\x1b[1;31mred\x1b[0m\tx"), "red     x")
        self.assertEqual(visible("\x1b[2J"), "\\x1b[2J")


class SpellingTests(SynchronousTestCase):
    def test_duration(self) -> None:
        """Durations show their two largest units."""
        for milliseconds, text in (
            (0, "0s"),
            (59_999, "59s"),
            (60_000, "1m 0s"),
            (3_599_000, "59m 59s"),
            (3_600_000, "1h 0m"),
            (90_000_000, "1d 1h"),
        ):
            self.assertEqual(duration(milliseconds), text)

    def test_size(self) -> None:
        """Sizes show what can be read."""
        for number, text in (
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KB"),
            (50 << 20, "50.0 MB"),
            (3 << 30, "3.0 GB"),
            (5000 << 30, "5000.0 GB"),
        ):
            self.assertEqual(size(number), text)

    def test_count(self) -> None:
        """One is not many."""
        self.assertEqual(
            [count(number, "app") for number in (0, 1, 2)], ["0 apps", "1 app", "2 apps"]
        )

    def test_spell(self) -> None:
        """Configured values are written as they could be set."""
        values = [None, "x", 1, True, ["a"], {"A": "1"}]
        self.assertEqual(
            [spell(value) for value in values], ["", "x", "1", "true", '["a"]', '{"A": "1"}']
        )


class TableTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """Columns are aligned, numbers to the right; nothing is empty."""
        lines = plain_table(["name", "pid"], [["a", "12345"], ["longer", ""]], {"pid"})
        self.assertEqual(lines, ["name      pid", "a       12345", "longer      -"])

    def test_not_painted(self) -> None:
        """A pipe gets no colours."""
        out = io.StringIO()
        Output(out, out).painted("x", "red")
        self.assertEqual(out.getvalue(), "x\n")
