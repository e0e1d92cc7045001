"""Paths: one spelling for all that mean the same, and no way out of a prefix."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.model.urlpath import is_below, parse_path, read_target, wide_prefix

targets = st.lists(
    st.sampled_from(
        ["/", "//", "a", "admin", "ADMIN", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "%41",
         "%25", "%252e", "?x=/../", "#", ";", "%zz", "%"]
    ),
    max_size=9,
).map(lambda parts: b"/" + "".join(parts).encode())  # fmt: skip


class ReadTargetTests(SynchronousTestCase):
    def test_exact(self) -> None:
        """What RFC 3986 calls the same is the same."""
        for target, exact in (
            (b"/", b"/"),
            (b"/a/b", b"/a/b"),
            (b"/%61/b", b"/a/b"),
            (b"/a//b", b"/a/b"),
            (b"/a/./b/../c", b"/a/c"),
            (b"/a/%2e%2E/c", b"/c"),
            (b"/../../x", b"/x"),
            (b"/a/..", b"/"),
            (b"/a/b/..", b"/a/"),
            (b"/caf%c3%a9", b"/caf%C3%A9"),
            (b"/a%2fb", b"/a%2Fb"),
            (b"/.well-known/x", b"/.well-known/x"),
            (b"*", b"/"),
        ):
            self.assertEqual(exact, read_target(target).exact, target)

    def test_the_rest(self) -> None:
        """A query is no path, and neither is a fragment, which some parsers cut off."""
        for target, exact, rest in (
            (b"/a?b=/../c", b"/a", b"?b=/../c"),
            (b"/admin#/../x", b"/admin", b"#/../x"),
            (b"/?", b"/", b"?"),
        ):
            path = read_target(target)
            self.assertEqual((exact, rest), (path.exact, path.rest))

    def test_sent(self) -> None:
        """A path reaches the app as it came, but for dots, which are resolved."""
        for target, sent in (
            (b"/img//https://x/y.png", b"/img//https://x/y.png"),
            (b"/%61", b"/%61"),
            (b"/a/../b", b"/b"),
            (b"/a/./b", b"/a/b"),
            (b"/.env", b"/.env"),
        ):
            self.assertEqual(sent, read_target(target).sent)

    def test_hidden_dots(self) -> None:
        """A .. that only some would see, and an escape that is none, are refused."""
        for target in (
            b"/a/..%2fb", b"/a/%2e.%2F", b"/a%5c..%5cb", b"/a/..\\b", b"/x/%", b"/x/%4",
            b"/a/..;/b", b"/a/..%3bx/b",
        ):  # fmt: skip
            self.assertRaises(ValueError, read_target, target)

    def test_wide(self) -> None:
        """Whatever an app may take for /admin is /admin in the wide reading."""
        prefix = wide_prefix("/admin")
        for target in (
            b"/admin", b"/admin/", b"/ADMIN/x", b"//admin", b"/%61dmin", b"/./admin",
            b"/x/../admin", b"/admin%2fx", b"/admin\\x", b"/admin?x", b"/admin#x",
            b"/x/%2e%2e/admin", b"/%2fadmin", b"/admin;x", b"/admin%3Bx/y", b"/;/admin",
        ):  # fmt: skip
            self.assertTrue(is_below(read_target(target).wide, prefix), target)
        for target in (b"/administration", b"/x/admin", b"/", b"/admin/../x", b"/%2561dmin"):
            self.assertFalse(is_below(read_target(target).wide, prefix), target)

    @given(targets)
    def test_nothing_climbs(self, target: bytes) -> None:
        """No reading that is left has a .. in it, and reading what is sent changes nothing."""
        try:
            path = read_target(target)
        except ValueError:
            return
        for reading in (path.exact, path.wide, unquote_to_bytes(path.sent).replace(b"\\", b"/")):
            self.assertNotIn(b"..", reading.split(b"/"))
        again = read_target(path.sent + path.rest)
        self.assertEqual((path.exact, path.wide, path.sent), (again.exact, again.wide, again.sent))


class ParsePathTests(SynchronousTestCase):
    def test_spellings(self) -> None:
        """People write what they see."""
        self.assertEqual("/caf%C3%A9", parse_path("/café"))
        self.assertEqual("/a%20b", parse_path("/a b"))
        self.assertEqual("/a", parse_path("/%61"))

    def test_refused(self) -> None:
        for text in ("", "a", "/a?b", "/a#b", "/a\\b", "/a//b", "/a/../b", "/%zz"):
            self.assertRaises(ValueError, parse_path, text)
