"""Who may use the web page, and how: log-in, keyboard, small screens, screen readers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tests.support.browser import inaccessible
from tests.support.webpage import VIEWS, WebPageCase

if TYPE_CHECKING:
    from playwright.sync_api import Page

LONG_NAME = "a-very-long-application-name-that-somebody-chose.customer-portal.example.com"
TABLES_FIT = """
[...document.querySelectorAll(".card.flush")].every((one) => one.scrollWidth <= one.clientWidth)
"""
NO_WIDER = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


class LogIn(WebPageCase):
    """The ways in and out."""

    def guest(self) -> Page:
        page = self.browser.page()
        self.addCleanup(page.context.close)
        return page

    def log_in(self, page: Page) -> None:
        page.get_by_label("Token").fill(self.token)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("navigation", name="Pages", exact=True).wait_for()

    def test_link(self) -> None:
        """A link logs in one browser, once; it leaves no key in the address."""
        url = self.service.json("web")["url"]
        page = self.guest()
        page.goto(url)
        page.get_by_role("link", name="shop", exact=True).first.wait_for()
        self.assertNotIn("key", page.url)
        again = self.guest()
        again.goto(url)
        again.get_by_text("This link was used or is too old").wait_for()

    def test_token(self) -> None:
        """The token logs in, another one does not; logging out ends the session."""
        page = self.guest()
        page.goto(self.base + "#/apps/shop/workers")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("That is not the token").wait_for()
        self.log_in(page)
        page.get_by_role("cell", name="online").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_text("You are logged out").wait_for()
        page.reload()
        page.get_by_label("Token").wait_for()
        self.assertEqual(self.browser.refused(page), [])

    def test_session_ends(self) -> None:
        """Who is not known any more logs in again and is where he was."""
        page = self.guest()
        page.goto(self.base + "#/apps/shop/workers")
        self.log_in(page)
        page.get_by_role("cell", name="online").wait_for()
        page.context.clear_cookies()
        page.get_by_role("button", name="Restart").click()
        page.get_by_text("Your session has ended").wait_for()
        self.log_in(page)
        page.get_by_role("cell", name="online").wait_for()
        self.assertTrue(page.url.endswith("#/apps/shop/workers"), page.url)

    def test_two_pages(self) -> None:
        """Who logs out or in has done so on every page that the browser shows."""
        first = self.guest()
        first.goto(self.base)
        self.log_in(first)
        second = first.context.new_page()
        second.goto(self.base + "#/events")
        second.get_by_role("heading", name="Events", exact=True).wait_for()
        first.get_by_role("button", name="Log out").click()
        second.get_by_label("Token").wait_for()
        self.log_in(first)
        second.get_by_role("heading", name="Events", exact=True).wait_for()

    def test_away(self) -> None:
        """It is said that ood does not answer; once it does, one logs in again, and hears more."""
        self.show("#/apps/shop")
        self.page.get_by_role("heading", name="shop", exact=True).wait_for()
        self.service.stop()
        self.page.get_by_text("ood does not answer: what you see is how it was").wait_for()
        self.service.start()
        self.page.get_by_text("Your session has ended").wait_for()
        self.page.get_by_label("Token").fill(self.token)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("heading", name="shop", exact=True).wait_for()
        self.assertFalse(self.page.locator("#away").is_visible())
        self.show("#/apps/shop/deaths")
        with suppress(OSError):
            self.ask("/die")
        self.page.locator(".death", has_text="kaboom").first.wait_for()


class Access(WebPageCase):
    """Every view, for everybody."""

    def test_axe(self) -> None:
        """axe-core finds nothing serious on any view or dialog, in light and in dark."""
        found = {}
        self.addCleanup(self.page.emulate_media, color_scheme="light")
        for view in VIEWS:
            self.show(view)
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                found[f"{view} {scheme}"] = inaccessible(self.page)
        self.show("#/")
        self.button("Add app").click()
        found["dialog"] = inaccessible(self.page)
        self.page.keyboard.press("Escape")
        self.assertEqual({view: faults for view, faults in found.items() if faults}, {})

    def test_small(self) -> None:
        """At 360 pixels nothing is wider than the screen."""
        self.page.set_viewport_size({"width": 360, "height": 740})
        self.addCleanup(self.page.set_viewport_size, {"width": 1280, "height": 800})
        wide = []
        for view in VIEWS:
            self.show(view)
            if not self.page.evaluate(NO_WIDER):
                wide.append(view)
        self.assertEqual(wide, [])

    def test_tablet(self) -> None:
        """At 768 pixels no table is wider than its place, with a long name, too."""
        self.service.ood("init", LONG_NAME, "--cwd", str(self.shop), "--script", "server.js")
        self.addCleanup(self.service.ood, "delete", LONG_NAME)
        self.page.set_viewport_size({"width": 768, "height": 1024})
        self.addCleanup(self.page.set_viewport_size, {"width": 1280, "height": 800})
        wide = []
        for view in (*VIEWS, f"#/apps/{LONG_NAME}"):
            self.show(view)
            if not self.page.evaluate(NO_WIDER) or not self.page.evaluate(TABLES_FIT):
                wide.append(view)
        self.assertEqual(wide, [])

    def test_keyboard(self) -> None:
        """From the first tab stop to a stopped app, without a mouse."""
        keyboard = self.page.keyboard
        self.page.goto(self.base + "#/about")
        self.page.reload()
        self.page.get_by_text("Twisted").wait_for()
        keyboard.press("Tab")
        self.assertEqual(self.focused(), "Skip to the content")
        self.tab_to("Apps")
        keyboard.press("Enter")
        self.page.locator("h1:focus", has_text="Apps").wait_for()
        self.tab_to("shop")
        keyboard.press("Enter")
        self.page.locator("h1:focus", has_text="shop").wait_for()
        self.tab_to("Stop")
        keyboard.press("Enter")
        self.dialog().wait_for()
        keyboard.press("Escape")
        self.dialog().wait_for(state="detached")
        self.assertEqual(self.focused(), "Stop")
        keyboard.press("Enter")
        self.tab_to("Stop")
        keyboard.press("Enter")
        self.said("shop is stopped")
        self.page.locator("button:focus", has_text="Start").wait_for()
        keyboard.press("Enter")
        self.said("shop is started")

    def focused(self) -> str:
        said: str = self.page.evaluate("document.activeElement.textContent.trim()")
        return said

    def tab_to(self, text: str) -> None:
        for _ in range(40):
            self.page.keyboard.press("Tab")
            if self.focused() == text:
                return
        self.fail(f"no tab stop {text}")

    def test_colours(self) -> None:
        """The colours are the system's until others are chosen, which are kept."""
        button = self.page.get_by_role("button", name="Colours")
        for word in ("light", "dark"):
            button.click()
            self.page.get_by_role("button", name=f"Colours: {word}").wait_for()
            scheme = "getComputedStyle(document.documentElement).colorScheme"
            self.assertEqual(self.page.evaluate(scheme), word)
        self.page.reload()
        self.page.get_by_role("button", name="Colours: dark").wait_for()
        button.click()
        self.page.get_by_role("button", name="Colours: the system's").wait_for()
