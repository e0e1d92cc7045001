"""Which file a target names: never one outside the root, however it is written."""

from __future__ import annotations

import os
from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core.static.paths import place_of

PIECES = st.sampled_from(
    ["/", "..", ".", "%2e", "%2F", "%5c", "\\", "%00", "a", "b.html", "%", "%zz", ".git", "?",
     "%25", ".well-known", "%c3%a9", "~", ";", "//", "%2e%2e/"]
)  # fmt: skip


class PlaceTests(SynchronousTestCase):
    """Targets and what they name."""

    def names(self, target: bytes) -> tuple[bytes, ...] | None:
        place = place_of(target)
        return None if place is None else place.names

    def test_names(self) -> None:
        """Names are decoded; slashes in a row are one."""
        for target, names in {
            b"/": (),
            b"/a/b.html": (b"a", b"b.html"),
            b"//a///b?c=/../d": (b"a", b"b"),
            b"/a%20b/%C3%A9": (b"a b", "\u00e9".encode()),
            b"/.well-known/acme": (b".well-known", b"acme"),
            b"/100%25": (b"100%",),
            b"/a\\..\\b": (b"a\\..\\b",),
        }.items():
            self.assertEqual(self.names(target), names, target)

    def test_refused(self) -> None:
        """What could leave the root, is hidden, or is no path names nothing."""
        for target in (
            b"/..", b"/../etc/passwd", b"/a/../b", b"/%2e%2e/a", b"/%2E./a", b"/.", b"/a/./b",
            b"/a%2fb", b"/a%2Fb", b"/a%00b", b"/.git/config", b"/a/.env", b"/%2eenv",
            b"/a/.well-known", b"/%", b"/%4", b"/%zz", b"*", b"", b"a", b"/" + b"a" * 256,
            b"/a" * 65,
        ):  # fmt: skip
            self.assertIsNone(place_of(target), target)

    def test_directory(self) -> None:
        """The address of a directory is one path, which names no other host."""
        for target, location in {
            b"/a": b"/a/",
            b"//evil.test": b"/evil.test/",
            b"/%2fevil.test": None,
            b"/a%0d%0ab?x=1": b"/a%0D%0Ab/?x=1",
            b"/a?/b": b"/a/?/b",
        }.items():
            place = place_of(target)
            self.assertEqual(None if place is None else place.as_directory(), location)

    @given(st.lists(PIECES, max_size=12))
    def test_anything(self, pieces: list[str]) -> None:
        """Whatever is asked for lies below the root, and no name in it is hidden."""
        target = ("/" + "".join(pieces)).encode()
        place = place_of(target)
        if place is None:
            return
        whole = os.path.normpath(b"/root/" + place.path)
        self.assertTrue(whole == b"/root" or whole.startswith(b"/root/"), target)
        for index, name in enumerate(place.names):
            self.assertNotIn(b"/", name)
            self.assertNotIn(b"\0", name)
            hidden = name.startswith(b".") and not (index == 0 and name == b".well-known")
            self.assertFalse(hidden, target)
        location = place.as_directory()
        self.assertRegex(location, rb"\A/(?!/)[!-~]*\Z")
        path = location.partition(b"?")[0]
        self.assertEqual(unquote_to_bytes(path).strip(b"/"), place.path)
