"""``ood web``: a link that works, for one person, in their browser."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from ood.cli.web import open_page
from tests.cli.support import CliCase
from tests.support.ood import wait_until


class WebTests(CliCase):
    """The command."""

    def test_link(self) -> None:
        """The link that is printed logs in."""
        result = self.ood("web", "--no-open")
        link = result.out.strip()
        self.assertEqual(result.status, 0)
        self.assertRegex(link, r"^http://127\.0\.0\.1:2016/ui/login\?code=\S{43}$")
        self.assertIn("once, within 60 s", result.err)
        browser = StubTreq(self.api.root)
        answer = self.successResultOf(browser.get(link, allow_redirects=False))
        self.assertEqual(answer.code, 303)
        self.assertIn("#key=", answer.headers.getRawHeaders("location")[0])

    def test_json(self) -> None:
        """Programs get the link and how long it is good for."""
        self.assertEqual(set(self.ood("web", "--json").value), {"url", "seconds"})


class BrowserTests(SynchronousTestCase):
    """The browser."""

    URL = "http://127.0.0.1:2016/ui/login?code=abc"

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        opener = self.directory / "xdg-open"
        opener.write_text(
            f'#!/bin/sh\necho "$@" >{self.directory}/new\n'
            f"mv {self.directory}/new {self.directory}/opened\n"
        )
        opener.chmod(0o755)
        self.patch(os, "environ", {**os.environ, "PATH": f"{self.directory}:{os.environ['PATH']}"})
        self.env = {"DISPLAY": ":0", "XDG_RUNTIME_DIR": str(self.directory)}

    def test_opened(self) -> None:
        """The secret link is in a file of the person's own, not in a command's arguments."""
        (self.directory / "ood-web.html").symlink_to("/dev/null")
        self.assertTrue(open_page(self.URL, self.env))
        opened = self.directory / "opened"
        wait_until(opened.exists, "the browser is started")
        page = Path(opened.read_text().strip())
        self.assertIn(self.URL, page.read_text())
        self.assertEqual(stat.S_IMODE(page.lstat().st_mode), 0o600)

    def test_no_desktop(self) -> None:
        """Without a desktop nothing is started, and nothing is written."""
        for env in ({}, {"DISPLAY": ":0"}, {"XDG_RUNTIME_DIR": str(self.directory)}):
            self.assertFalse(open_page(self.URL, env))
        self.assertFalse(open_page(self.URL, {**self.env, "XDG_RUNTIME_DIR": "/nowhere"}))
        self.assertFalse((self.directory / "ood-web.html").exists())
