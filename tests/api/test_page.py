"""The page's files: who gets what, and how often."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

from ood.api.assets import TYPES, Assets
from ood.api.page import FILES, POLICY
from tests.api.support import Answer, ApiCase

SENT_BYTES_MAX = 50 * 1024
FIRST_BYTES_MAX = 100 * 1024


def imported(name: str) -> set[str]:
    """Return the script ``name`` with all that it imports at once."""
    found, left = set[str](), [name]
    while left:
        script = left.pop()
        found.add(script)
        text = (FILES / script).read_text()
        for target in re.findall(r'^import .*? from "(.+?)";', text, re.DOTALL | re.MULTILINE):
            path = (FILES / script).parent.joinpath(target).resolve().relative_to(FILES)
            left += {str(path)} - found
    return found


class PageFilesTests(ApiCase):
    """Files are served to everybody who may connect."""

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        sent: dict[str, Any] = {"Authorization": None}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(method, path, headers=sent, allow_redirects=False)

    def test_index(self) -> None:
        """The page itself is never stored, and may load nothing but its own files."""
        answer = self.get("/ui/")
        self.assertEqual(answer.status, 200)
        self.assertIn(b"<!doctype html>", answer.body)
        for name, value in (
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ):
            self.assertEqual(answer.header(name), value)

    def test_no_inline(self) -> None:
        """Nothing in the page's HTML would be refused by its own policy."""
        for path in FILES.rglob("*.html"):
            text = path.read_text()
            self.assertNotRegex(text, r"(?i)<style|\sstyle=|\son[a-z]+=|javascript:|https?://")
            for script in re.findall(r"(?i)<script[^>]*>", text):
                self.assertIn("src=", script)

    def test_everything_is_served(self) -> None:
        """Every file of the page can be had."""
        for path in (path for path in FILES.rglob("*") if path.is_file()):
            answer = self.get(f"/ui/{path.relative_to(FILES)}")
            self.assertEqual((answer.status, answer.body), (200, path.read_bytes()), path)
            self.assertEqual(answer.header("content-type"), TYPES[path.suffix])

    def test_compressed(self) -> None:
        """A browser that takes gzip gets it."""
        answer = self.get("/ui/page.js", Accept_Encoding="br, gzip")
        self.assertEqual(answer.header("vary"), "Accept-Encoding")
        if answer.header("content-encoding") == "gzip":
            answer.body = gzip.decompress(answer.body)
        self.assertEqual(answer.body, (FILES / "page.js").read_bytes())

    def test_size(self) -> None:
        """The page is quick: all of it is small as it is sent, and what the first view loads is."""
        assets = Assets(FILES)
        names = [str(path.relative_to(FILES)) for path in FILES.rglob("*") if path.is_file()]
        found = {name: assets.find(name) for name in names}
        sent = [one.compressed or one.content for one in found.values() if one is not None]
        self.assertEqual(len(sent), len(names))
        self.assertLess(sum(map(len, sent)), SENT_BYTES_MAX)
        first = {"index.html", "page.css", "theme.js", "icon.svg", *imported("page.js")}
        self.assertLess(sum((FILES / name).stat().st_size for name in first), FIRST_BYTES_MAX)

    def test_etag(self) -> None:
        """What a browser has already is not sent again."""
        first = self.get("/ui/page.js")
        tag = first.header("etag") or ""
        self.assertEqual(first.header("cache-control"), "no-cache")
        again = self.get("/ui/page.js", If_None_Match=f'"x", {tag}')
        self.assertEqual((again.status, again.body), (304, b""))
        self.assertEqual(self.get("/ui/page.js", If_None_Match='W/"x"').status, 200)

    def test_nothing_else(self) -> None:
        """No way leads out of the directory, and what is not the page's is not there."""
        for path in (
            "/ui/nothing.js",
            "/ui/..%2fpage.py",
            "/ui/../page.py",
            "/ui/%2e%2e/page.py",
            "/ui//etc/passwd",
            "/ui/js/",
            "/ui/.hidden.js",
            "/ui/page.js%00.html",
            "/ui/page.py",
        ):
            answer = self.get(path)
            self.assertIn(answer.status, (401, 404), path)

    def test_methods(self) -> None:
        """Files are only read."""
        head = self.get("/ui/page.js", "HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(self.get("/ui/page.js", "POST").status, 405)
        self.assertEqual(self.get("/ui/", "DELETE").status, 405)

    def test_ways_to_the_page(self) -> None:
        """Who types only the address comes to the page; programs get what they always got."""
        for path in ("/", "/ui", "/ui/login"):
            answer = self.get(path, Accept="text/html")
            self.assertEqual((answer.status, answer.header("location")), (303, "/ui/"), path)
        self.assertEqual(self.get("/").status, 401)


class AssetsTests(ApiCase):
    """Files as they are read."""

    def test_changed(self) -> None:
        """A file that was changed is read again."""
        directory = Path(self.mktemp())
        directory.mkdir()
        file = directory / "a.css"
        file.write_text("a" * 1000)
        assets = Assets(directory)
        first = assets.find("a.css")
        assert first is not None
        assert first.compressed is not None
        self.assertIs(assets.find("a.css"), first)
        file.write_text("b")
        second = assets.find("a.css")
        assert second is not None
        self.assertEqual((second.content, second.compressed), (b"b", None))
        self.assertNotEqual(first.etag, second.etag)
