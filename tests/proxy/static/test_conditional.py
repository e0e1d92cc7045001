"""Conditions and ranges, as RFC 9110 has them."""

from __future__ import annotations

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core.static import conditional
from ood.proxy.core.static.conditional import Piece, Version

NOW = 1_700_000_000
FILE = Version(b'"1-a"', NOW, 1000)


def decide(*lines: str, get: bool = True, version: Version = FILE) -> Piece:
    fields = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
    return conditional.decide(version, conditional.asked(fields), get=get)


def date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


class ConditionTests(SynchronousTestCase):
    """Entity tags and dates."""

    def test_entity_tags(self) -> None:
        """If-None-Match compares weakly, If-Match strongly; each may be a list, or a star."""
        for line, status in {
            'If-None-Match: "1-a"': 304,
            'if-none-match: W/"1-a"': 304,
            'If-None-Match: "x", "1-a"': 304,
            "If-None-Match: *": 304,
            'If-None-Match: "1"': 200,
            "If-None-Match: 1-a": 200,
            'If-Match: "1-a"': 200,
            "If-Match: *": 200,
            'If-Match: W/"1-a"': 412,
            'If-Match: "x"': 412,
        }.items():
            self.assertEqual(decide(line).status, status, line)
        self.assertEqual(decide('If-None-Match: "x"', 'If-None-Match: "1-a"').status, 304)

    def test_dates(self) -> None:
        """Dates count to the second; what is no date does not count."""
        for line, status in {
            f"If-Modified-Since: {date(NOW)}": 304,
            f"If-Modified-Since: {date(NOW + 1)}": 304,
            f"If-Modified-Since: {date(NOW - 1)}": 200,
            "If-Modified-Since: yesterday": 200,
            "If-Modified-Since: Tue, 99 Nov 2023 22:13:20 GMT": 200,
            f"If-Unmodified-Since: {date(NOW)}": 200,
            f"If-Unmodified-Since: {date(NOW - 1)}": 412,
            "If-Unmodified-Since: never": 200,
        }.items():
            self.assertEqual(decide(line).status, status, line)

    def test_precedence(self) -> None:
        """Tags win over dates, a failed If-Match over all, and a 304 over a range."""
        old = f"If-Modified-Since: {date(NOW)}"
        self.assertEqual(decide('If-None-Match: "x"', old).status, 200)
        self.assertEqual(decide('If-Match: "1-a"', f"If-Unmodified-Since: {date(1)}").status, 200)
        self.assertEqual(decide('If-Match: "x"', 'If-None-Match: "1-a"').status, 412)
        self.assertEqual(decide('If-None-Match: "1-a"', "Range: bytes=0-0").status, 304)

    @given(st.integers(0, 4_102_444_800))
    def test_every_date(self, seconds: int) -> None:
        """Dates are read as they are written."""
        self.assertEqual(conditional.http_date(seconds).decode(), date(seconds))
        version = Version(b'"x"', seconds, 1)
        same = [f"If-Range: {date(seconds)}", "Range: bytes=0-0"]
        self.assertEqual(decide(*same, version=version).status, 206)
        later = Version(b'"x"', seconds + 1, 1)
        self.assertEqual(decide(*same, version=later).status, 200)


class RangeTests(SynchronousTestCase):
    """Pieces of a file of 1000 bytes."""

    def test_pieces(self) -> None:
        """First, last, open, suffix; too long ends at the end."""
        for value, piece in {
            "bytes=0-0": (206, 0, 1),
            "bytes=0-": (206, 0, 1000),
            "bytes=990-2000": (206, 990, 10),
            "bytes=-5": (206, 995, 5),
            "bytes=-5000": (206, 0, 1000),
            "Bytes= 1-2 ": (206, 1, 2),
            "bytes=0-4,5-9": (206, 0, 10),
            "bytes=5-9, 0-6": (206, 0, 10),
            "bytes=0-4,2000-": (206, 0, 5),
            "bytes=1000-": (416, 0, 0),
            "bytes=-0": (416, 0, 0),
            "bytes=5000-,-0": (416, 0, 0),
        }.items():
            found = decide(f"Range: {value}")
            self.assertEqual((found.status, found.start, found.length), piece, value)

    def test_whole(self) -> None:
        """What is not a range, or would be several pieces, gets the whole."""
        for value in (
            "bytes=0-1,5-6", "bytes=", "bytes=-", "bytes=5-1", "bytes=a-b", "bytes 0-1",
            "bytes=0-1,x", "bytes=" + ",".join(["0-0"] * 17), "bytes=" + "9" * 50 + "-",
            "lines=0-1", "bytes=+1-2",
        ):  # fmt: skip
            self.assertEqual(decide(f"Range: {value}"), Piece(200, 0, 1000), value)

    def test_head(self) -> None:
        """Only GET has ranges."""
        self.assertEqual(decide("Range: bytes=0-0", get=False).status, 200)

    def test_if_range(self) -> None:
        """A client with another version gets the whole."""
        for value, status in {
            '"1-a"': 206,
            'W/"1-a"': 200,
            '"x"': 200,
            date(NOW): 206,
            date(NOW + 1): 200,
            date(NOW - 1): 200,
            "x": 200,
        }.items():
            self.assertEqual(decide("Range: bytes=0-0", f"If-Range: {value}").status, status, value)

    def test_empty(self) -> None:
        """An empty file has no pieces."""
        empty = Version(b'"e"', NOW, 0)
        self.assertEqual(decide("Range: bytes=0-", version=empty).status, 416)
        self.assertEqual(decide(version=empty), Piece(200, 0, 0))

    @given(
        st.integers(0, 50),
        st.lists(
            st.tuples(st.none() | st.integers(0, 60), st.none() | st.integers(0, 60)),
            min_size=1,
            max_size=4,
        ),
    )
    def test_against_sets(self, size: int, items: list[tuple[int | None, int | None]]) -> None:
        """A piece is exactly what was asked for, if that is one; else the answer is the whole."""
        text = ",".join(f"{'' if a is None else a}-{'' if b is None else b}" for a, b in items)
        found = decide(f"Range: bytes={text}", version=Version(b'"x"', NOW, size))
        if any(
            (a is None and b is None) or (a is not None and b is not None and b < a)
            for a, b in items
        ):
            self.assertEqual(found, Piece(200, 0, size))
            return
        wanted: set[int] = set()
        for a, b in items:
            if a is None:
                wanted |= set(range(max(size - (b or 0), 0), size))
            else:
                wanted |= set(range(a, size if b is None else min(b + 1, size)))
        if not wanted:
            self.assertEqual(found.status, 416)
        elif wanted == set(range(min(wanted), max(wanted) + 1)):
            self.assertEqual(found, Piece(206, min(wanted), len(wanted)))
        else:
            self.assertEqual(found, Piece(200, 0, size))

    @given(st.binary(max_size=60))
    def test_anything(self, value: bytes) -> None:
        """Whatever is sent, the answer is one of the few, within the file."""
        for name in (b"range", b"if-range", b"if-none-match", b"if-match", b"if-modified-since"):
            asked = {name: value, b"range": b"bytes=0-1"} if name != b"range" else {name: value}
            piece = conditional.decide(FILE, asked, get=True)
            self.assertIn(piece.status, (200, 206, 304, 412, 416))
            self.assertTrue(0 <= piece.start <= piece.start + piece.length <= FILE.size)
