"""What clients take, and what files are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core import codings
from ood.proxy.core.static.media import UNKNOWN, media_type

ALL = ("br", "zstd", "gzip")


class CodingTests(SynchronousTestCase):
    """Accept-Encoding with its weights."""

    def test_ranked(self) -> None:
        """The client's weights decide, then ours; zero is a no; identity may be liked better."""
        for value, expected in {
            None: [],
            b"": [],
            b"gzip": ["gzip"],
            b"GZIP;Q=1": ["gzip"],
            b"x-gzip": ["gzip"],
            b"gzip, deflate, br, zstd": ["br", "zstd", "gzip"],
            b"gzip;q=1.0, br;q=0.5": ["gzip", "br"],
            b"br;q=0, gzip": ["gzip"],
            b"*": ["br", "zstd", "gzip"],
            b"*;q=0.1, gzip;q=0": ["br", "zstd"],
            b"identity, gzip;q=0.5": [],
            b"identity;q=0.5, gzip;q=0.5": ["gzip"],
            b"identity;q=0, gzip;q=0.001": ["gzip"],
            b"gzip;q=2, br;q=x": [],
            b"gzip;level=1": [],
        }.items():
            self.assertEqual(codings.ranked(value, ALL), expected, value)

    @given(st.binary(max_size=80))
    def test_anything(self, value: bytes) -> None:
        """Nothing breaks it, and only known codings come out."""
        self.assertLessEqual(set(codings.ranked(value, ALL)), set(ALL))

    def test_compressible(self) -> None:
        """Texts get smaller; images, sounds and archives are small already."""
        for kind in (
            "text/html; charset=utf-8",
            "application/json",
            "image/svg+xml",
            "TEXT/CSS",
            "application/ld+json",
            "application/wasm",
            "font/ttf",
        ):
            self.assertTrue(codings.compressible(kind), kind)
        for kind in (
            "image/png",
            "font/woff2",
            "application/zip",
            "video/mp4",
            "",
            UNKNOWN,
            "application/pdf",
        ):
            self.assertFalse(codings.compressible(kind), kind)

    def test_media_types(self) -> None:
        """By the extension, whatever its case."""
        for name, kind in {
            b"a.html": "text/html; charset=utf-8",
            b"A.JPG": "image/jpeg",
            b"a.min.js": "text/javascript; charset=utf-8",
            b"a.json": "application/json",
            b"a.tar.gz": "application/gzip",
            b"a": UNKNOWN,
            b"a.\xff": UNKNOWN,
        }.items():
            self.assertEqual(media_type(name), kind, name)
