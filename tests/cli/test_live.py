"""What is followed is what is: changes are merged, times go on, and screens are drawn of it."""

from __future__ import annotations

import io
import os
import time
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from ood.api.snapshot import Snapshot
from ood.api.types import LOG_STREAMS
from ood.cli.keys import meanings
from ood.cli.live import LiveApps, at, merged
from ood.cli.monit import View
from ood.cli.output import Output
from ood.cli.status import app_report, is_as_wanted, one_line_status, remarks
from ood.cli.watch import draw
from ood.model.certificates import AppCertificate
from ood.model.remarks import HELD
from ood.model.status import AppStatus, UpstreamStatus, WorkerStatus
from tests.cli.support import CliCase

WORKERS = st.builds(
    WorkerStatus,
    instance=st.integers(0, 2),
    pid=st.one_of(st.none(), st.integers(1, 3)),
    state=st.sampled_from(["online", "launching"]),
    cpu_percent=st.sampled_from([0.0, 1.5]),
)


def app(name: str = "shop", *workers: WorkerStatus, **values: Any) -> AppStatus:
    """Return an app that is online."""
    known = {"state": "online", "running": True, "wanted": 1, "port": 1, "user": "www", **values}
    return AppStatus(name=name, workers=workers, **known)


def worker(instance: int = 0, **values: Any) -> WorkerStatus:
    return WorkerStatus(**{"instance": instance, "pid": 7, "state": "online", **values})


def plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


APPS = st.lists(
    st.builds(lambda name, workers: app(name, *workers), st.sampled_from("abc"), st.lists(WORKERS)),
    unique_by=lambda one: one.name,
)


class FollowTests(SynchronousTestCase):
    """From changes to the state."""

    @given(st.lists(APPS, min_size=1, max_size=4))
    def test_merged(self, states: list[list[AppStatus]]) -> None:
        """Whatever happens, a reader knows what the service knows."""
        snapshot = Snapshot()
        snapshot.update(states[0])
        known = merged({}, msgspec.json.decode(msgspec.json.encode(snapshot.whole())), 0)
        for state in states[1:]:
            change = snapshot.update(state)
            if change is not None:
                known = merged(known, msgspec.json.decode(msgspec.json.encode(change)), 0)
        self.assertEqual(at(known, 0), plain(sorted(states[-1], key=lambda one: one.name)))

    def test_time_goes_on(self) -> None:
        """Uptimes count on from when they were told; nobody's does not."""
        first = app("shop", worker(uptime_ms=500), worker(1, pid=None))
        known = merged({}, {"full": True, "removed": [], "apps": {"shop": plain(first)}}, 10)
        change = {
            "full": False,
            "removed": [],
            "apps": {"shop": {"workers": {"0": {"requests": 3}}}},
        }
        known = merged(known, change, 11)
        [shown] = at(known, 12.5)
        self.assertEqual([one["uptimeMs"] for one in shown["workers"]], [3000, 0])
        self.assertEqual(shown["workers"][0]["requests"], 3)


class AsWantedTests(CliCase):
    """What scripts learn."""

    def test_states(self) -> None:
        """A started app has to be online, with workers, and without trouble."""
        for status, expected in (
            (app("a", worker()), True),
            (app("a", worker(), state="launching"), False),
            (app("a", worker(), trouble=("port taken",)), False),
            (app("a", worker(), maintenance=True), True),
            (app("a"), False),
            (app("a", state="stopped", running=False), True),
            (app("a", worker(), state="stopping", running=False), True),
            (app("a", worker(), pending_restart=True), True),
            (app("a", worker(), certificate=AppCertificate(state="failed")), False),
            (app("a", worker(), certificate=AppCertificate(state="none")), True),
        ):
            self.assertEqual(is_as_wanted(plain(status)), expected, status)

    def test_exit_status(self) -> None:
        """3 if anything is not as wanted, of all or of the one; the text is the same."""
        self.assertEqual(self.ood("status").status, 0)
        self.ood("start", "shop.example")
        self.assertEqual(self.ood("status").status, 0)
        self.controller.trouble = ("port 3001 is in use",)
        for line in ("status", "status shop.example", "status --json"):
            result = self.ood(*line.split())
            self.assertEqual((result.status, result.err), (3, ""))
            self.assertIn("port 3001 is in use", result.out)
        self.assertIn("3  something is not as wanted", self.ood("help", "status").out)

    def test_maintenance(self) -> None:
        """What somebody wants is said, and is no fault."""
        self.ood("start", "shop.example")
        self.ood("maintenance", "shop.example", "on")
        result = self.ood("status")
        self.assertEqual(result.status, 0)
        self.assertIn("shop.example: in maintenance", result.out)
        self.ood("maintenance", "shop.example", "off")
        self.assertNotIn("maintenance", self.ood("status").out)

    def test_no_certificate(self) -> None:
        """An app without a certificate says why in words."""
        for state, text in (("terms", "the CA's terms wait"), ("pending", "being obtained")):
            out = io.StringIO()
            certificate = AppCertificate(state=state)
            app_report(Output(out, out), plain(app("a", worker(), certificate=certificate)))
            self.assertIn(
                f"https       no certificate yet: {text}", out.getvalue().replace("it is ", "")
            )

    def test_in_depth(self) -> None:
        """One app's traffic and certificate are said where they are known."""
        certificate = AppCertificate(
            state="partial",
            names=("a.example",),
            not_after="2026-12-01T00:00:00Z",
            trouble=("b.example does not resolve",),
        )
        status = app("a", worker(), certificate=certificate, latency_p50_ms=1.2, loop_lag_ms=20.4)
        out = io.StringIO()
        app_report(Output(out, out), plain(status))
        for text in (
            "https       partial for a.example until 2026-12-01",
            "traffic     0.0 requests/s, 0.0 errors/s, p50 1.2 ms, lag 20 ms",
            "b.example does not resolve",
        ):
            self.assertIn(text, out.getvalue())

    def test_spare(self) -> None:
        """A spare worker is not counted with those that serve."""
        status = plain(app("shop", worker(), worker(1, reason=HELD)))
        self.assertEqual(one_line_status(status), "shop is online, 1 worker.")
        self.assertEqual(list(remarks(status)), ["worker 1 waits without requests: others serve"])

    def test_where_the_reason_is(self) -> None:
        """Workers have died of something; of servers elsewhere only the log tells."""
        for kind, verb in (("node", "why"), ("proxy", "log")):
            said = list(remarks(plain(app("shop", state="errored", type=kind))))
            self.assertEqual(said, [f"to see why: ood {verb} shop"])
        again = worker(state="launching", restarts=2, reason="the one before exited with status 3")
        said = list(remarks(plain(app("shop", again, state="launching"))))
        self.assertEqual(said[-1], "to see why: ood why shop")
        first = worker(state="launching", reason="waits for db")
        said = list(remarks(plain(app("shop", first, state="launching"))))
        self.assertEqual(said, ["worker 0 is launching: waits for db"])

    def test_pending_restart(self) -> None:
        """What waits for a restart is said, with the command."""
        said = list(remarks(plain(app("shop", worker(), pending_restart=True))))
        self.assertEqual(said, ["changed settings wait for a restart: ood restart shop"])


def _set_zone(name: str | None) -> None:
    os.environ.pop("TZ", None)
    if name is not None:
        os.environ["TZ"] = name


class ViewTests(SynchronousTestCase):
    """The screen of ``ood monit``."""

    def setUp(self) -> None:
        self.view = View()
        apps = [
            app("api", worker(cpu_percent=50.0, requests_per_second=12.0)),
            app("shop", worker(0), worker(1, state="errored"), state="errored"),
            app("stopped", running=False, state="stopped"),
        ]
        self.view.update(plain(apps), "")

    def lines(self, width: int = 100, height: int = 24) -> list[str]:
        out = io.StringIO()
        console = Console(file=out, width=width, height=height, no_color=True)
        console.print(self.view.draw(width, height))
        return out.getvalue().splitlines()

    def test_fits(self) -> None:
        """It fills any screen and never more than that."""
        for width, height in ((100, 24), (40, 10), (200, 60), (30, 8)):
            lines = self.lines(width, height)
            self.assertEqual(len(lines), height)
            self.assertLessEqual(max(map(len, lines)), width)

    def test_sums(self) -> None:
        """The first line says how much is as it should be."""
        self.assertIn("2 of 3 apps as wanted   3 workers   cpu 50%", self.lines()[0])

    def test_choice(self) -> None:
        """Arrows choose an app, and stop at both ends."""
        for key, name in (
            ("up", "api"),
            ("down", "shop"),
            ("down", "stopped"),
            ("down", "stopped"),
            ("up", "shop"),
        ):
            self.view.press(key)
            self.assertEqual(self.view.selected, name)
            self.assertEqual([line for line in self.lines() if f"▸ {name}" in line][1:], [])
        self.view.update(self.view.apps[:1], "")
        self.assertEqual(self.view.selected, "api")
        self.view.update([], "")
        self.view.press("down")
        self.assertEqual((self.view.selected, len(self.lines())), ("", 24))

    def test_many(self) -> None:
        """The chosen app is always in sight."""
        self.view.update(plain([app(f"app{n:03}", *map(worker, range(8))) for n in range(100)]), "")
        for _ in range(70):
            self.view.press("down")
        self.assertTrue(any("▸ app070" in line for line in self.lines()))

    def test_log(self) -> None:
        """The last lines, harmless, of the stream that was chosen."""
        line = {"time": "2026-01-02T03:04:05.678Z", "instance": 0, "stream": "err"}
        self.view.log = [{**line, "text": f"{n} \x1b[2J\x1b]0;x\x07"} for n in range(50)]
        text = "\n".join(self.lines())
        self.assertIn("03:04:05 0 49 \\x1b", text)
        self.assertNotIn("\x1b]", text)
        for expected in (*LOG_STREAMS, None):
            self.view.press("right")
            self.assertEqual((self.view.stream, self.view.log), (expected, []))

    def test_long_name(self) -> None:
        """A long name is shortened in its middle before it takes the place of what is measured."""
        long = "a-very-long-name-that-somebody-chose-for-this.customer-portal.example.com"
        self.view.update(plain([app(long, worker(state="waiting-restart"))]), "")
        for width, words in ((80, ("waiting-restart", "0.0%", "0.0")), (40, ("waiting-restart",))):
            row = self.lines(width)[2]
            for expected in ("▸ a-ver", "…", ".com", *words):
                self.assertIn(expected, row)
        self.assertIn(long, self.lines(200)[2])

    def test_time_of_day(self) -> None:
        """The log has the time of day of this machine, as other programs do."""
        before = os.environ.get("TZ")
        self.addCleanup(time.tzset)
        self.addCleanup(_set_zone, before)
        _set_zone("EST5")
        time.tzset()
        line = {"time": "2026-01-02T03:04:05.678Z", "instance": 0, "stream": "err", "text": "x"}
        self.view.log = [line]
        self.assertIn("22:04:05 0 x", "\n".join(self.lines()))

    def test_measured(self) -> None:
        """Columns appear where somebody measures."""
        self.assertNotIn("p95", self.lines()[1])
        measured = plain(app("api", worker()))
        measured["workers"][0] |= {"latencyP95Ms": 12.3, "loopLagMs": 1500.0, "errorsPerSecond": 2}
        self.view.update([measured], "ood has stopped")
        text = "\n".join(self.lines(120))
        for expected in ("p95", "12 ms", "lag", "1.5 s", "ood has stopped"):
            self.assertIn(expected, text)


class WatchTests(SynchronousTestCase):
    """The screen of ``ood status --watch``."""

    def test_upstreams(self) -> None:
        """Of an app whose servers are elsewhere, these are what is watched."""
        servers = (UpstreamStatus(address="10.0.0.5:8080", state="errored"),)
        apps = SimpleNamespace(now=lambda: plain([app("far", upstreams=servers)]), trouble="")
        out = io.StringIO()
        Console(file=out, width=100).print(draw(cast("LiveApps", apps), 100, 20))
        self.assertIn("10.0.0.5:8080   errored", out.getvalue())


class KeyTests(SynchronousTestCase):
    """What keys send."""

    def test_meanings(self) -> None:
        """Arrows in both spellings, letters, several at once; the rest means nothing."""
        for data, expected in (
            (b"\x1b[A\x1b[B", ["up", "down"]),
            (b"\x1bOC\x1bOD", ["right", "left"]),
            (b"jq", ["down", "quit"]),
            (b"\x1b[5~x\xff", []),
            (b"\x1b", []),
        ):
            self.assertEqual(meanings(data), expected, data)
