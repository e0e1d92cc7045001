"""What tests of the web page share: one service with an app, and one browser for it."""

from __future__ import annotations

import atexit
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import TestLoader
from urllib.request import Request, urlopen

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.apps import nodes
from tests.support.browser import Browser
from tests.support.http import Client
from tests.support.ood import RunningOod

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SERVER = """
console.log('shop listens');
console.error('shop warns');
require('http').createServer((request, response) => {
  console.log('asked for ' + request.url);
  if (request.url === '/colours') console.log('\\x1b[32mgreen\\x1b[39m and \\x1b]8;;http://a.example\\x07linked\\x1b]8;;\\x07');
  if (request.url === '/die') setTimeout(() => { throw new Error('kaboom'); });
  else response.end('TEXT');
}).listen(process.env.PORT);
"""
TIDY = """
document.querySelectorAll("dialog").forEach((one) => one.close());
document.querySelectorAll(".toast").forEach((one) => one.remove());
"""
"""Takes away what a test that failed left open."""
VIEWS = (
    "#/",
    "#/apps/shop",
    "#/apps/shop/workers",
    "#/apps/shop/log",
    "#/apps/shop/settings",
    "#/apps/shop/releases",
    "#/apps/shop/deaths",
    "#/apps/none",
    "#/certificates",
    "#/services",
    "#/events",
    "#/settings",
    "#/about",
)


def write_app(directory: Path, text: str, scripts: dict[str, str] | None = None) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "server.js").write_text(SERVER.replace("TEXT", text))
    package = {"name": "shop", "version": "1.2.3", "scripts": scripts or {}}
    (directory / "package.json").write_text(json.dumps(package))
    return directory


class WebPageCase(SynchronousTestCase):
    """One service and one browser for all tests of a class."""

    if not nodes():
        skip = "there is no node"

    browser: Browser
    service: RunningOod
    page: Page
    shop: Path
    left: set[str]
    _missing: str | None = None

    @classmethod
    def _begin(cls) -> None:
        """Start everything before the first test of a class: trial knows no setUpClass."""
        cls.left = set(TestLoader().getTestCaseNames(cls))
        try:
            cls.browser = Browser()
        except SkipTest as error:
            cls._missing = str(error)
            return
        cls._missing = ""
        # Where not all tests of the class are run, it ends with the run.
        atexit.register(cls._end)
        cls.service = RunningOod(next(iter(nodes().values())))
        cls.prepare()
        cls.service.start()
        cls.shop = write_app(cls.service.directory / "shop", "first")
        cls.service.add("shop", cls.shop)
        cls.page = cls.browser.page(viewport={"width": 1280, "height": 800})
        cls.page.goto(cls.service.json("web")["url"])

    @classmethod
    def prepare(cls) -> None:
        """Configure the service before it starts: not the kernel's tables, which it may share."""
        cls.service.home.mkdir()
        settings = {"schema": 1, "settings": {"balancerEngine": "userspace"}}
        (cls.service.home / "config.json").write_text(json.dumps(settings))

    @classmethod
    def ended(cls) -> None:
        """Called after the service has ended."""

    @classmethod
    def _end(cls) -> None:
        atexit.unregister(cls._end)
        try:
            cls.browser.close()
        finally:
            cls.service.close()
            cls.ended()

    def setUp(self) -> None:
        if self._missing is None:
            self._begin()
        if self._missing:
            raise SkipTest(self._missing)
        self.browser.faults.clear()
        self.page.evaluate(TIDY)

    def tearDown(self) -> None:
        if self._missing:
            return
        try:
            self.assertEqual(self.browser.faults, [])
            self.assertEqual(self.browser.refused(self.page), [])
        finally:
            self.left.discard(self._testMethodName)
            if not self.left:
                self._end()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.service.api_port}/ui/"

    @property
    def token(self) -> str:
        return (self.service.home / "api-token").read_text().strip()

    def show(self, view: str, page: Page | None = None) -> None:
        """Go to a view of the page, and wait until it is there."""
        page = page or self.page
        page.evaluate("hash => { location.hash = hash; }", view)
        page.locator(f"main[data-view='{view}']").wait_for()

    def said(self, text: str) -> None:
        """Wait until the page says how something went."""
        self.page.locator(".toast", has_text=text).first.wait_for()
        self.page.evaluate(TIDY)

    def button(self, name: str, within: Locator | None = None) -> Locator:
        return (within or self.page).get_by_role("button", name=name, exact=True)

    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    def status(self, name: str = "shop") -> Any:
        return self.api(f"/apps/{name}")

    def api(self, path: str) -> Any:
        """Return what the API says."""
        url = f"http://127.0.0.1:{self.service.api_port}/api/v1{path}"
        request = Request(url, headers={"Authorization": f"Bearer {self.token}"})
        with urlopen(request) as answer:
            return json.load(answer)

    def ask(self, path: str) -> str:
        with Client(self.service.http_port, "shop.localhost") as client:
            return client.ask(path).body.decode()
