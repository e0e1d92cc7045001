"""A page that is open for long: ood is away for a while, others change things, one goes back."""

from __future__ import annotations

import os
import signal

from tests.support.webpage import WebPageCase, write_app

TRY_AGAIN = """
[...document.querySelectorAll("button")].find((one) => one.textContent === "Try again")?.click()
"""


class Lasting(WebPageCase):
    """What is shown is right again, and nothing that one has begun is lost without a word."""

    def test_unreachable_views(self) -> None:
        """What can't be loaded says why and offers to try again; then it is there."""
        page = self.browser.page()
        self.addCleanup(page.context.close)
        page.goto(self.service.json("web")["url"])
        page.get_by_role("link", name="shop", exact=True).first.wait_for()
        for view, then in (
            ("#/apps/shop/settings", page.get_by_label("killTimeout", exact=True)),
            ("#/about", page.get_by_text("Twisted")),
        ):
            page.context.set_offline(True)
            self.show(view, page)
            page.get_by_text("ood does not answer. Is it running?").wait_for()
            page.get_by_role("button", name="Try again").wait_for()
            page.context.set_offline(False)
            page.evaluate(TRY_AGAIN)  # it may be gone already: the page tries by itself, too
            then.wait_for()

    def test_no_address(self) -> None:
        """An address that is none leads to the apps; a question does not outlive its view."""
        self.show("#/apps/shop")
        self.button("Stop").click()
        self.dialog().wait_for()
        self.page.evaluate("location.hash = '#/apps/%zz'")
        self.page.get_by_role("heading", name="Apps", exact=True).wait_for()
        self.assertEqual(self.dialog().count(), 0)

    def test_changed_elsewhere(self) -> None:
        """What others set is shown; where one edits the same, that is said and the edit stays."""
        self.show("#/apps/shop")
        self.show("#/apps/shop/settings")
        mine = self.page.get_by_label("killTimeout", exact=True)
        mine.fill("12s")
        changes = ("--set", "killTimeout", "50s", "--set", "maxRestarts", "7")
        self.service.ood("config", "--app", "shop", *changes)
        self.page.locator(".setting .wrong", has_text="elsewhere meanwhile, to: 50s").wait_for()
        other = self.page.get_by_label("maxRestarts", exact=True)
        self.assertEqual((mine.input_value(), other.input_value()), ("12s", "7"))
        self.button("Save").click()
        self.said("Saved")
        config = self.api("/apps/shop/config")
        self.assertEqual((config["killTimeout"], config["maxRestarts"]), (12_000, 7))
        self.assertEqual(self.page.locator(".setting .wrong:visible").count(), 0)
        self.service.ood(
            "config", "--app", "shop", "--unset", "killTimeout", "--unset", "maxRestarts"
        )

    def test_unsaved(self) -> None:
        """What one has edited is there again after another view, and after a new log-in."""
        page = self.browser.page()
        self.addCleanup(page.context.close)
        page.goto(self.service.json("web")["url"])
        page.get_by_role("link", name="shop", exact=True).first.wait_for()
        self.show("#/apps/shop/settings", page)
        edited = page.get_by_label("killTimeout", exact=True)
        edited.fill("12s")
        self.show("#/apps/shop/log", page)
        page.locator(".log .l").first.wait_for()  # so the button is the next to be refused
        page.context.clear_cookies()
        page.get_by_role("button", name="Restart").click()
        page.get_by_text("Your session has ended").wait_for()
        page.get_by_label("Token").fill(self.token)
        page.get_by_role("button", name="Log in").click()
        self.show("#/apps/shop/settings", page)
        page.get_by_text("1 change not saved").wait_for()
        self.assertEqual(edited.input_value(), "12s")
        page.get_by_role("button", name="Discard").click()
        self.show("#/apps/shop/log", page)
        self.show("#/apps/shop/settings", page)
        edited.wait_for()
        self.assertNotEqual(edited.input_value(), "12s")

    def test_silent(self) -> None:
        """A connection that looks open and tells nothing is noticed; then all goes on."""
        self.show("#/apps/shop/log")
        lines = self.page.locator(".log .l")
        lines.first.wait_for()
        os.kill(self.service.pid, signal.SIGSTOP)
        try:
            self.page.get_by_text("ood does not answer: what you see is how it was").wait_for()
        finally:
            os.kill(self.service.pid, signal.SIGCONT)
        self.page.locator("#link.open").wait_for()
        self.page.locator("#away").wait_for(state="hidden")
        self.ask("/after-the-silence")
        lines.filter(has_text="/after-the-silence").first.wait_for()

    def test_paused_log(self) -> None:
        """The lines of a log that one has paused stay, whatever becomes of the connection."""
        self.show("#/apps/shop/log")
        lines = self.page.locator(".log .l")
        self.ask("/the-clue")
        lines.filter(has_text="/the-clue").first.wait_for()
        self.button("Pause").click()
        before = lines.all_inner_texts()
        self.page.evaluate(
            "import('/ui/js/live.js').then(({ connect, live, link }) => {"
            " link.state = 'away'; live.dispatchEvent(new Event('link')); connect(); })"
        )
        self.page.locator("#link.open").wait_for()
        self.assertEqual(lines.all_inner_texts(), before)
        self.ask("/later")
        self.button("Go on").click()
        lines.filter(has_text="/later").first.wait_for()

    def test_lost_deployment(self) -> None:
        """A deployment whose ood ended says so in words, as do the ways out and in."""
        source = write_app(
            self.service.directory / "endless",
            "endless",
            {"build": "node -e \"console.log('building it'); setTimeout(() => {}, 60000)\""},
        )
        self.show("#/apps/shop/releases")
        form = self.page.get_by_role("form", name="Deploy shop")
        form.get_by_label("From").fill(str(source))
        form.get_by_label("Run the package's build script").check()
        self.button("Deploy", form).click()
        self.page.locator(".output", has_text="building it").wait_for()
        self.service.stop()
        self.page.locator(".job .wrong", has_text="ood does not answer").wait_for()
        self.button("Log out").click()
        self.page.get_by_text("You are logged out").wait_for()
        self.assertIsNone(self.page.evaluate("localStorage.getItem('ood-key')"))
        self.page.get_by_label("Token").fill(self.token)
        self.button("Log in").click()
        self.page.locator("#login .wrong", has_text="ood does not answer").wait_for()
        self.service.start()
        self.button("Log in").click()
        self.page.get_by_role("heading", name="shop", exact=True).wait_for()
