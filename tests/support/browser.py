"""Chromium, steered by Playwright, and what a page may not do in it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.trial.unittest import SkipTest

from tests.support.apps import installed

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 60_000
"""Long enough for a worker that starts on a busy machine."""
START_MS = 120_000
WATCH = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.refused.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""
AXE = """
async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`);
}
"""


class Browser:
    """One Chromium; each :meth:`context` is somebody who never was here.

    :raises SkipTest: Chromium or Playwright is missing.
    """

    def __init__(self) -> None:
        path = next(filter(None, map(shutil.which, NAMES)), None)
        if path is None:
            raise SkipTest("chromium is not installed")
        try:
            from playwright.sync_api import Error, sync_playwright
        except ImportError:
            raise SkipTest("playwright is not installed") from None
        self._driver = sync_playwright().start()
        try:
            self._chromium = self._launch(path)
        except Error as error:
            self._driver.stop()
            raise SkipTest(f"chromium does not start here: {error}") from None
        self.faults: list[str] = []

    def _launch(self, path: str) -> Chromium:
        """Start it: with its sandbox if it can be, which root and many containers don't have."""
        from playwright.sync_api import Error

        launch = partial(self._driver.chromium.launch, executable_path=path, timeout=START_MS)
        if os.geteuid() != 0:
            with suppress(Error):
                return launch()
        return launch(args=["--no-sandbox"])

    def close(self) -> None:
        """End it."""
        self._chromium.close()
        self._driver.stop()

    def page(self, **options: Any) -> Page:
        """Return a page of a context of its own, whose faults are collected."""
        context = self._chromium.new_context(**options)
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(WATCH)
        page = context.new_page()
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        return page

    def refused(self, page: Page) -> list[str]:
        """Return what the page's policy has refused since it was loaded."""
        found: list[str] = page.evaluate("window.refused")
        return found


def inaccessible(page: Page) -> list[str]:
    """Return what axe-core finds serious or worse.

    :raises SkipTest: it can't be had.
    """
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate((installed("axe") / "node_modules/axe-core/axe.min.js").read_text())
    found: list[str] = page.evaluate(AXE)
    return found
