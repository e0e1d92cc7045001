"""The web page in Chromium, against the real service with real apps: every action."""

from __future__ import annotations

import contextlib
import re
from datetime import datetime, timezone
from typing import Any

from tests.certs.pki import write_pair
from tests.integration import web_access, web_lasting, web_services
from tests.support.ood import wait_until
from tests.support.pebble import MISSING, Pebble
from tests.support.ports import free_ports
from tests.support.webpage import TIDY, WebPageCase, write_app

SHOP = "shop.example.com"
OBTAINED_SECONDS = 60
"""How long the CA and its challenges may take on a busy machine."""
SLOW_BUILD = (
    "node -e \"console.log('building \\\\x1b[1mit\\\\x1b[22m'); setTimeout(() => {}, 60000)\""
)


class WebPageTests(web_access.LogIn, web_access.Access, web_lasting.Lasting, web_services.Services):
    """Every action of the page does what it says."""

    def test_stop_start_restart(self) -> None:
        """An app is stopped after a question, started, and its workers are replaced."""
        self.show("#/apps/shop")
        self.button("Stop").click()
        self.button("Cancel", self.dialog()).click()
        self.assertTrue(self.status()["running"])
        self.button("Stop").click()
        self.button("Stop", self.dialog()).click()
        self.said("shop is stopped")
        self.assertEqual(self.status()["state"], "stopped")
        self.page.locator("h1 + .badge", has_text="stopped").wait_for()
        # How many workers it will have is not 0: that is not said, nor to be changed, from here.
        self.assertFalse(self.button("One worker more").is_visible())
        self.assertEqual(self.page.locator(".summary", has_text="0 of 0").count(), 0)
        self.button("Start").click()
        self.said("shop is started")
        before = self.status()["workers"][0]["pid"]
        self.button("Restart").click()
        self.said("shop is restarted")
        self.assertNotEqual(self.status()["workers"][0]["pid"], before)

    def test_scale(self) -> None:
        """Workers are added and taken away, one at a time; the last one stays."""
        self.show("#/apps/shop/workers")
        self.button("One worker more").click()
        self.said("shop is scaled")
        self.page.locator("tbody tr:nth-child(2)").wait_for()
        self.assertEqual(self.status()["wanted"], 2)
        self.button("One worker less").click()
        self.said("shop is scaled")
        self.page.locator("tbody tr:nth-child(2)").wait_for(state="detached")
        self.assertTrue(self.button("One worker less").is_disabled())

    def test_maintenance(self) -> None:
        """Visitors get the message until it ends; a hold that is none is refused at its field."""
        self.show("#/apps/shop")
        self.button("Maintenance").click()
        self.dialog().get_by_label("Message for visitors").fill("Back at noon")
        self.dialog().get_by_label("Hold requests for").fill("soon")
        self.button("Begin", self.dialog()).click()
        self.dialog().locator(".field .wrong", has_text="soon").wait_for()
        self.dialog().get_by_label("Hold requests for").fill("0s")
        self.button("Begin", self.dialog()).click()
        self.said("shop is in maintenance")
        self.assertIn("Back at noon", self.ask("/"))
        self.page.locator("h1 + .badge", has_text="maintenance").wait_for()
        self.button("End maintenance").click()
        self.said("shop is back from maintenance")
        self.assertEqual(self.ask("/"), "first")

    def test_settings(self) -> None:
        """What is wrong is said at its field and nothing is changed; then it is; and reset."""
        self.show("#/apps/shop/settings")
        self.page.get_by_label("killTimeout", exact=True).fill("forever")
        self.page.get_by_label("env", exact=True).fill('{"COLOUR": ')
        self.button("Save").click()
        self.page.locator(".setting.edited .wrong", has_text="is not JSON").wait_for()
        self.page.get_by_label("env", exact=True).fill('{"COLOUR": "blue"}')
        self.button("Save").click()
        wrong = self.page.locator(".setting", has_text="killTimeout").locator(".wrong")
        wrong.filter(has_text="forever").wait_for()
        focused = self.page.evaluate("document.activeElement.name")
        self.assertEqual(focused, "killTimeout")
        self.assertEqual(self.config()["env"], {})
        self.page.get_by_label("killTimeout", exact=True).fill("12s")
        self.button("Save").click()
        self.said("Saved")
        self.assertEqual(self.config()["killTimeout"], 12_000)
        self.assertEqual(self.config()["env"], {"COLOUR": "blue"})
        self.button("Reset killTimeout").click()
        self.button("Reset env").click()
        self.page.get_by_text("2 changes not saved").wait_for()
        self.button("Save").click()
        self.said("Saved")
        self.assertEqual((self.config()["killTimeout"], self.config()["env"]), (30_000, {}))
        self.page.get_by_label("Find a setting").fill("cron expression")
        self.assertEqual(self.page.locator(".setting:visible").count(), 0)
        self.page.get_by_label("Find a setting").fill("cronRestart")
        self.assertEqual(self.page.locator(".setting:visible").count(), 1)

    def config(self) -> Any:
        return self.api("/apps/shop/config")

    def test_log(self) -> None:
        """Lines come as they are written, and are filtered by text, stream and worker."""
        self.show("#/apps/shop/log")
        lines = self.page.locator(".log .l")
        lines.filter(has_text="shop listens").first.wait_for()
        self.ask("/a-page")
        lines.filter(has_text="asked for /a-page").first.wait_for()
        self.page.get_by_label("Filter lines").fill("A-PAGE")
        self.assertEqual({"/a-page" in text for text in lines.all_inner_texts()}, {True})
        self.ask("/other")
        self.ask("/a-page?2")
        lines.filter(has_text="/a-page?2").first.wait_for()
        self.assertEqual(lines.filter(has_text="/other").count(), 0)
        self.page.get_by_label("Filter lines").fill("")
        self.page.get_by_label("Stream").select_option("err")
        self.assertEqual(lines.filter(has_text="asked for").count(), 0)
        lines.filter(has_text="shop warns").first.wait_for()
        self.page.get_by_label("Stream").select_option("")
        self.page.get_by_label("Worker", exact=True).select_option("0")
        lines.filter(has_text="shop listens").first.wait_for()
        self.ask("/colours")
        lines.filter(has_text="green and linked").first.wait_for()
        self.button("Pause").click()
        self.ask("/unseen")
        self.page.get_by_text(re.compile("paused, 1 newer")).wait_for()
        self.assertEqual(lines.filter(has_text="/unseen").count(), 0)
        self.button("Go on").click()
        lines.filter(has_text="/unseen").first.wait_for()

    def test_deploy(self) -> None:
        """A release is made with progress, one that takes long is cancelled; and back again."""
        second = write_app(self.service.directory / "second", "second")
        slow = write_app(self.service.directory / "slow", "slow", {"build": SLOW_BUILD})
        form = self.page.get_by_role("form", name="Deploy shop")
        self.show("#/apps/shop/releases")
        form.get_by_label("From").fill("/no/such/place")
        self.button("Deploy", form).click()
        self.page.locator(".toast.bad, form .wrong:visible, .job .wrong:visible").first.wait_for()
        self.page.evaluate(TIDY)
        form.get_by_label("From").fill(str(second))
        self.button("Deploy", form).click()
        self.said("the deployment has succeeded")
        self.assertEqual(self.ask("/"), "second")
        self.page.locator(".job .steps li").first.wait_for()
        form.get_by_label("From").fill(str(slow))
        form.get_by_label("Run the package's build script").check()
        self.button("Deploy", form).click()
        self.page.locator(".job .output", has_text="building it").wait_for()
        # The deployment goes on while another view is looked at.
        self.show("#/about")
        self.show("#/apps/shop/releases")
        self.page.locator(".job .output", has_text="building it").wait_for()
        self.button("Cancel").click()
        self.said("the deployment is cancelled")
        self.assertEqual(self.ask("/"), "second")
        form.get_by_label("Run the package's build script").uncheck()
        form.get_by_label("From").fill(str(self.shop))
        self.button("Deploy", form).click()
        self.said("the deployment has succeeded")
        self.assertEqual(self.ask("/"), "first")
        newest = self.page.locator("tbody tr").first
        newest.filter(has_text=str(self.shop)).get_by_text("current").wait_for()
        self.page.get_by_role("button", name="Roll back to").first.click()
        self.button("Roll back", self.dialog()).click()
        self.said("shop runs")
        self.assertEqual(self.ask("/"), "second")
        self.button("Run its own directory").click()
        self.button("Roll back", self.dialog()).click()
        self.said("shop runs cwd now")
        self.assertEqual(self.ask("/"), "first")

    def test_deaths(self) -> None:
        """A death is shown with what is known of it, as it happens."""
        self.show("#/apps/shop/deaths")
        with contextlib.suppress(OSError):
            self.ask("/die")
        self.page.locator(".death", has_text="kaboom").first.wait_for()
        wait_until(lambda: self.status()["state"] == "online", "the worker is replaced")

    def test_add_and_delete(self) -> None:
        """An app is added and started; it is deleted by who types its name."""
        other = write_app(self.service.directory / "other", "other")
        self.show("#/")
        self.button("Add app").click()
        self.dialog().get_by_label("Name").fill("not a name")
        self.dialog().get_by_label("Directory").fill(str(other))
        self.dialog().get_by_label("Script").fill("server.js")
        # Not the port that ood assigns: several services run on a machine that tests.
        self.dialog().get_by_label("Port").fill(str(free_ports(1)[0]))
        self.button("Add", self.dialog()).click()
        self.dialog().locator(".wrong:visible").first.wait_for()
        self.dialog().get_by_label("Name").fill("other")
        self.button("Add", self.dialog()).click()
        self.said("other is started")
        self.show("#/")
        self.page.get_by_label("Find an app").fill("oth")
        rows = self.page.locator(".apps tbody tr")
        rows.nth(1).wait_for(state="detached")
        rows.first.get_by_text("online").wait_for()
        self.show("#/apps/other")
        self.button("Delete").click()
        self.assertTrue(self.button("Delete", self.dialog()).is_disabled())
        self.dialog().get_by_label("Type other to confirm").fill("other")
        self.button("Delete", self.dialog()).click()
        self.said("other is deleted")
        self.assertNotIn("other", self.service.ood("status"))

    def test_certificates(self) -> None:
        """A certificate of one's own is added and removed; a wrong path is said at its field."""
        cert, key = write_pair(
            self.service.directory / "pair", ["shop.localhost"], datetime.now(timezone.utc)
        )
        self.show("#/certificates")
        self.button("Add certificate").click()
        self.dialog().get_by_label("Certificate").fill("pair/cert.pem")
        self.button("Add", self.dialog()).click()
        self.dialog().get_by_text("pair/cert.pem is not an absolute path").wait_for()
        self.dialog().get_by_text("is missing").wait_for()
        self.dialog().get_by_label("Certificate").fill("/no/such/file")
        self.dialog().get_by_label("Private key").fill(str(key))
        self.button("Add", self.dialog()).click()
        self.dialog().locator(".wrong:visible").first.wait_for()
        self.dialog().get_by_label("Certificate").fill(str(cert))
        self.button("Add", self.dialog()).click()
        self.said("shop.localhost is added")
        self.button("Remove shop.localhost").click()
        self.button("Remove", self.dialog()).click()
        self.said("shop.localhost is removed")

    def test_service(self) -> None:
        """Settings of the service are changed; what happened is told; L4 services are shown."""
        self.show("#/settings")
        self.page.get_by_label("accessLog", exact=True).select_option("json")
        self.button("Save").click()
        self.said("Saved")
        self.assertEqual(self.api("/settings")["accessLog"], "json")
        self.button("Reset accessLog").click()
        self.button("Save").click()
        self.said("Saved")
        self.button("Test notifications").click()
        self.said("Nobody is told yet")
        self.show("#/events")
        self.page.locator(".feed li", has_text="accessLog").first.wait_for()
        self.show("#/services")
        self.page.get_by_text("The balancer has no service").wait_for()
        self.show("#/about")
        self.page.get_by_text("Twisted").wait_for()

    def test_overview(self) -> None:
        """What is not as wanted is said on top, and again not once it is."""
        bad = self.service.directory / "bad"
        bad.mkdir()
        (bad / "server.js").write_text("setTimeout(() => process.exit(3), 50)")
        self.service.ood("init", "bad", "--cwd", str(bad), "--script", "server.js")
        self.show("#/")
        self.button("Start bad").click()
        alert = self.page.locator(".alerts li", has_text="bad")
        alert.filter(has_text="status 3").wait_for()
        alert.get_by_role("link", name="See why").click()
        self.page.locator(".death", has_text="status 3").first.wait_for()
        self.service.ood("delete", "bad")
        self.page.get_by_text("There is no app of this name").wait_for()
        self.show("#/")
        alert.wait_for(state="detached")


class RenewTests(WebPageCase):
    """Certificates of a CA."""

    if MISSING:
        skip = MISSING
    ca: Pebble

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.ca = Pebble()
        cls.ca.start()
        cls.service.http_port, cls.service.https_port = cls.ca.http_port, cls.ca.tls_port

    @classmethod
    def ended(cls) -> None:
        cls.ca.stop()

    def serial(self) -> str:
        """Return which certificate ood has of the CA, once it has one."""
        listed = self.api("/certificates")["certificates"]
        fingerprints: list[str] = [
            one["fingerprint"] for one in listed if (one["name"], one["state"]) == (SHOP, "valid")
        ]
        return (fingerprints or [""])[0]

    def test_renew(self) -> None:
        """From a name without a certificate over the terms to one that is renewed by a click."""
        row = self.page.locator("tbody tr", has_text=SHOP)
        self.service.ood("config", "-a", "shop", "--set", "domains", SHOP)
        self.show("#/certificates")
        row.get_by_text("nobody has accepted").first.wait_for()
        self.button(f"Renew {SHOP}").click()
        self.page.locator(".toast.bad", has_text="there is no CA to ask").wait_for()
        self.page.evaluate(TIDY)
        self.show("#/settings")
        for key, value in (("acmeDirectory", self.ca.url), ("acmeCaFile", str(self.ca.ca_file))):
            self.page.get_by_label(key, exact=True).fill(value)
        self.page.get_by_label("acmeAgreeTos", exact=True).select_option("true")
        self.button("Save").click()
        self.said("Saved")
        self.show("#/certificates")
        wait_until(self.serial, "the CA has given a certificate", OBTAINED_SECONDS)
        row.get_by_text("valid").wait_for()
        row.get_by_text("Pebble").wait_for()
        before = self.serial()
        renew = self.button(f"Renew {SHOP}")
        renew.click()
        self.said(f"{SHOP} is renewed")
        self.assertNotEqual(self.serial(), before)
        self.assertTrue(renew.is_enabled())
        self.button(f"Remove {SHOP}").click()
        self.button("Remove", self.dialog()).click()
        self.dialog().get_by_text("in use by shop").wait_for()
        self.button("Cancel", self.dialog()).click()
        self.show("#/events")
        self.page.locator(".feed li", has_text=f"{SHOP} has a certificate").first.wait_for()
