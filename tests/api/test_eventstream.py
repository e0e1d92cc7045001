"""Events as a browser gets them: what happens, what changes, what was missed."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from ood.api import eventstream
from ood.api.follow import BACKLOG_BYTES_MAX
from ood.api.site import make_site
from ood.api.snapshot import Snapshot, only
from ood.events import EVENTS_KEPT, EventBus
from ood.model.status import AppStatus, WorkerStatus
from ood.testing.controller import MemoryController
from tests.api.support import TOKEN

ADDRESS = IPv4Address("TCP", "127.0.0.1", 2016)


class Reader:
    """One connection that reads events."""

    def __init__(self, site: Any, query: str, *headers: str, method: str = "GET") -> None:
        self.protocol = site.buildProtocol(ADDRESS)
        self.transport = StringTransportWithDisconnection(hostAddress=ADDRESS)
        self.transport.protocol = self.protocol
        self.transport.abortConnection = self.transport.loseConnection
        self.protocol.makeConnection(self.transport)
        lines = [f"{method} /api/v1/events{query} HTTP/1.1", "Host: 127.0.0.1:2016"]
        lines += [f"Authorization: Bearer {TOKEN}", *headers, "", ""]
        self.protocol.dataReceived("\r\n".join(lines).encode())

    @property
    def head(self) -> str:
        return self.transport.value().partition(b"\r\n\r\n")[0].decode()

    def text(self) -> str:
        """Return what came, without HTTP's chunks."""
        rest = self.transport.value().partition(b"\r\n\r\n")[2]
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return body.decode()

    def events(self) -> list[tuple[str, Any, str]]:
        """Return kind, data and id of every event."""
        found = []
        for block in self.text().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "event" in fields:
                found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
        return found

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.events()]


class WatchCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.bus = EventBus()
        self.controller = MemoryController()
        for name in ("shop", "blog"):
            self.successResultOf(self.controller.init(name, {"cwd": "/srv"}))
        self.asked = 0
        answer = self.controller.status
        self.controller.status = lambda name: self._count(name) or answer(name)
        self.site = make_site(self.controller, TOKEN, reactor=self.clock, events=self.bus)
        self.streams = self.site.api._handlers._streams

    def _count(self, name: str | None) -> None:
        self.asked += name is None

    def read(self, query: str = "", *headers: str, **options: Any) -> Reader:
        return Reader(self.site, query, *headers, **options)


class EventTests(WatchCase):
    """What happens."""

    def test_as_it_happens(self) -> None:
        """An event comes at once, with its id, kind and data."""
        reader = self.read()
        self.assertIn("text/event-stream", reader.head)
        self.bus.publish("death", "worker 0 died", "shop", signal="SIGKILL")
        kind, data, number = reader.events()[-1]
        self.assertEqual(
            (kind, data["app"], data["data"]), ("death", "shop", {"signal": "SIGKILL"})
        )
        self.assertTrue(number.endswith(f".{data['id']}"))

    def test_filters(self) -> None:
        """Only the kinds and the app that were asked for."""
        reader = self.read("?kinds=death,errored&app=shop")
        for kind, app in (("death", "blog"), ("errored", "shop"), ("worker", "shop")):
            self.bus.publish(kind, "text", app)
        self.clock.advance(1)
        self.assertEqual(reader.kinds(), ["errored"])

    def test_last(self) -> None:
        """A reader may begin with what happened before."""
        for number in range(5):
            self.bus.publish("death", f"{number}", "shop")
        texts = [data["text"] for _, data, _ in self.read("?kinds=death&last=2").events()]
        self.assertEqual(texts, ["3", "4"])
        self.assertEqual(self.read("?kinds=death").events(), [])

    def test_seconds(self) -> None:
        """A reader may have its answer end; at once, with what there was."""
        self.bus.publish("death", "before", "shop")
        self.assertEqual(self.read("?last=9&seconds=2").kinds(), ["death", "status"])
        at_once = self.read("?last=9&seconds=0")
        self.clock.advance(0)
        self.assertEqual(len(self.streams), 1)
        self.clock.advance(1)
        self.bus.publish("death", "after", "shop")
        self.clock.advance(1)
        self.assertEqual(len(self.streams), 0)
        self.assertEqual(at_once.kinds(), ["death", "status"])
        gone = self.read("?seconds=9")
        gone.transport.loseConnection()
        self.clock.advance(0)
        times = [call.getTime() for call in self.clock.getDelayedCalls()]
        self.assertNotIn(self.clock.seconds() + 9, times)

    def resume(self, last_seen: str) -> list[tuple[str, Any, str]]:
        return self.read("?kinds=death", f"Last-Event-ID: {last_seen}").events()

    def test_resumes(self) -> None:
        """Who names the event it saw last gets those after it."""
        first = self.read()
        for number in range(3):
            self.bus.publish("death", f"{number}", "shop")
        seen = [number for _, _, number in first.events() if number]
        self.assertEqual([data["text"] for _, data, _ in self.resume(seen[0])], ["1", "2"])
        self.assertEqual(self.resume(seen[-1]), [])

    def test_resumes_from_the_beginning(self) -> None:
        """Even a reader that saw no event yet knows where it is."""
        seen = self.read("?kinds=death").text().partition("id: ")[2].split()[0]
        self.bus.publish("death", "missed", "shop")
        self.assertEqual([data["text"] for _, data, _ in self.resume(seen)], ["missed"])

    def test_reset(self) -> None:
        """Too long away, or of another run of the service: read everything again."""
        reader = self.read()
        self.bus.publish("death", "first", "shop")
        seen = reader.events()[-1][2]
        for _ in range(EVENTS_KEPT + 1):
            self.bus.publish("worker", "text", "shop")
        run = seen.partition(".")[0]
        for last_seen in (seen, "0badf00d.1", f"{run}.99999", f"{run}.", "7", f"{run}.1e3", "\\"):
            kinds = [kind for kind, _, _ in self.resume(last_seen)]
            self.assertEqual(kinds, ["reset"], last_seen)

    def test_refused(self) -> None:
        """What is not there can't be asked for."""
        for query, status in (
            ("?kinds=deaths", 400),
            ("?kinds=", 400),
            ("?last=x", 400),
            ("?last=99999", 400),
            ("?seconds=-1", 400),
            ("?seconds=99999", 400),
            ("?other=1", 400),
            ("?app=nobody", 404),
        ):
            self.assertIn(f" {status} ", self.read(query).head.splitlines()[0], query)
        self.assertEqual(len(self.streams), 0)

    def test_bounded(self) -> None:
        """Only so many read at once."""
        for _ in range(eventstream.STREAMS_MAX):
            self.read("?kinds=death")
        self.assertIn(" 503 ", self.read().head.splitlines()[0])

    def test_head(self) -> None:
        """HEAD tells the type, and is over."""
        reader = self.read(method="HEAD")
        self.assertIn("text/event-stream", reader.head)
        self.assertEqual(len(self.streams), 0)


class StatusTests(WatchCase):
    """How everything is."""

    def changes(self, reader: Reader) -> list[Any]:
        return [data for kind, data, _ in reader.events() if kind == "status"]

    def test_whole_then_changes(self) -> None:
        """First everything, then what is different, then nothing."""
        reader = self.read()
        [whole] = self.changes(reader)
        self.assertEqual((whole["full"], set(whole["apps"])), (True, {"shop", "blog"}))
        self.clock.advance(1)
        self.assertEqual(len(self.changes(reader)), 1)
        self.successResultOf(self.controller.start("shop"))
        self.successResultOf(self.controller.delete("blog"))
        self.clock.advance(1)
        [_, change] = self.changes(reader)
        self.assertEqual((change["full"], change["removed"]), (False, ["blog"]))
        shop = change["apps"]["shop"]
        self.assertEqual({*shop}, {"state", "running", "workers"})
        self.assertEqual(shop["workers"][0]["state"], "online")

    def test_looked_at_once_for_all(self) -> None:
        """However many read, the state is asked for once a second; without readers, never."""
        readers = [self.read() for _ in range(5)]
        self.assertEqual(self.asked, 1)
        self.clock.advance(1)
        self.assertEqual(self.asked, 2)
        for reader in readers:
            reader.transport.loseConnection()
        self.assertEqual(len(self.streams), 0)
        self.clock.advance(100)
        self.assertEqual(self.asked, 2)
        self.bus.publish("death", "to nobody")

    def test_not_wanted(self) -> None:
        """Who wants only events does not make ood look."""
        self.read("?kinds=death")
        self.clock.advance(5)
        self.assertEqual(self.asked, 0)

    def test_one_app(self) -> None:
        """Who watches one app hears nothing of others."""
        reader = self.read("?app=shop")
        self.successResultOf(self.controller.start("blog"))
        self.clock.advance(1)
        [whole] = self.changes(reader)
        self.assertEqual(set(whole["apps"]), {"shop"})
        self.successResultOf(self.controller.start("shop"))
        self.clock.advance(1)
        self.assertEqual(set(self.changes(reader)[-1]["apps"]), {"shop"})

    def test_heartbeat(self) -> None:
        """Something comes now and then, though nothing happens."""
        reader = self.read("?kinds=death")
        before = reader.text()
        self.clock.pump([1] * eventstream.HEARTBEAT_TICKS)
        self.assertEqual(reader.text(), before + ":\n\n")

    def test_slow_reader(self) -> None:
        """Who does not read is dropped, not remembered."""
        slow, quick = self.read(), self.read()
        slow.transport.producer.pauseProducing()
        for _ in range(BACKLOG_BYTES_MAX // 50_000 + 1):
            self.bus.publish("death", "x" * 50_000, "shop")
        self.assertFalse(slow.transport.connected)
        self.assertTrue(quick.transport.connected)
        self.assertEqual(len(self.streams), 1)

    def test_a_fault_is_survived(self) -> None:
        """If the state can't be told once, it is told later."""
        reader = self.read()
        answer, self.controller.status = self.controller.status, lambda name: 1 / 0
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.controller.status = answer
        self.successResultOf(self.controller.start("shop"))
        self.clock.advance(1)
        self.assertEqual(len(self.changes(reader)), 2)

    def test_stop(self) -> None:
        """When the API stops, streams end, and none begins."""
        reader = self.read()
        self.site.api.stop()
        self.assertTrue(reader.transport.value().endswith(b"0\r\n\r\n"))
        self.assertIn(" 503 ", self.read().head.splitlines()[0])
        self.assertIsNone(self.streams._timer)


def worker(instance: int, pid: int | None = 7, **values: Any) -> WorkerStatus:
    return WorkerStatus(instance=instance, pid=pid, state="online", **values)


def app(*workers: WorkerStatus, **values: Any) -> AppStatus:
    return AppStatus(
        name="shop",
        state="online",
        running=True,
        wanted=1,
        port=1,
        user="",
        workers=workers,
        **values,
    )


class SnapshotTests(SynchronousTestCase):
    """What is different, as little of it as there is."""

    def change(self, before: AppStatus, now: AppStatus) -> Any:
        snapshot = Snapshot()
        snapshot.update([before])
        found = snapshot.update([now])
        return found and found["apps"]["shop"]

    def test_time_is_no_change(self) -> None:
        """Uptime alone is not told."""
        self.assertIsNone(self.change(app(worker(0)), app(worker(0, uptime_ms=5))))

    def test_fields(self) -> None:
        """Only the fields of the workers that changed."""
        before = app(worker(0), worker(1, 8))
        now = app(worker(0), worker(1, 8, cpu_percent=2.5, uptime_ms=9), version="2")
        expected = {"version": "2", "workers": {"1": {"cpuPercent": 2.5}}}
        self.assertEqual(self.change(before, now), expected)

    def test_other_workers(self) -> None:
        """If others are there, they all come."""
        change = self.change(app(worker(0)), app(worker(0, 9)))
        self.assertEqual([one["pid"] for one in change["workers"]], [9])
        self.assertEqual(self.change(app(worker(0)), app()), {"workers": []})

    def test_only(self) -> None:
        """The part of one app."""
        change = {"full": False, "apps": {"a": {}, "b": {}}, "removed": ["c"]}
        self.assertEqual(only(change, "a"), {"full": False, "apps": {"a": {}}, "removed": []})
        self.assertEqual(only(change, "c"), {"full": False, "apps": {}, "removed": ["c"]})
        self.assertIsNone(only(change, "d"))
