"""The balancer as a part of the service: loaded late, told once, split by engine."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
from treq.testing import StubTreq
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.balancer.kernel import KernelEngine
from ood.balancer.ownership import MemoryOwnership
from ood.balancer.part import BalancerPart
from ood.balancer.service import BalancerService
from ood.balancer.split import SplitBalancer
from ood.balancer.testing import FakeKernel
from ood.balancer.userspace import UserspaceEngine
from ood.errors import InvalidError
from ood.events import EventBus
from ood.model.document import Document
from ood.model.schema import check_document
from ood.model.servicecheck import read_services
from ood.store.file import FileStore

TOKEN = "s3cret"
SERVICE = {"host": "127.0.0.1", "port": 29_000, "servers": []}


class Watched:
    """A reactor that only remembers what it was to watch."""

    def addReader(self, reader):
        self.reader = reader

    addWriter = removeReader = removeWriter = addReader


class PartTests(SynchronousTestCase):
    """The routes over a store of its own."""

    def setUp(self):
        self.clock = Clock()
        directory = Path(self.mktemp())
        directory.mkdir()
        self.store = FileStore(directory, lambda work: succeed(work()))
        self.events = EventBus()
        self.part = BalancerPart(
            self.store,
            "userspace",
            Watched(),
            self.clock,
            directory / "balancer.json",
            events=self.events,
        )
        self.store.subscribe(self.part.converge)
        self.part.startService()
        self.addCleanup(self.part.stopService)
        resource = self.part.resource(TOKEN, lambda: [("", 80)])
        self.treq = StubTreq(resource)

    def send(self, method, path, body=None):
        sending = self.treq.request(
            method,
            f"http://api{path}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            data=b"" if body is None else json.dumps(body).encode(),
        )
        self.treq.flush()
        response = self.successResultOf(sending)
        return response.code, json.loads(self.successResultOf(response.content()))

    def statistics(self):
        status, listed = self.send("GET", "/services?statistics=true")
        self.assertEqual(status, 200)
        return {one["id"]: one["statistics"]["applied"] for one in listed}

    def test_health_is_told(self):
        """A server that became unwell is an event, and so is its coming back."""
        self.send("PUT", "/services", [])
        told = []
        self.events.subscribe(told.append)
        self.part._load()._first._checker.told("tcp-a", "b-80", False, "refused")
        self.part._load()._first._checker.told("tcp-a", "b-80", True, "")
        texts = ["b-80 of tcp-a is down: refused", "b-80 of tcp-a is up again"]
        self.assertEqual([event.text for event in told], texts)
        self.assertEqual([event.data["up"] for event in told], [False, True])

    def test_late(self):
        """Without services no engine runs, and other changes of the document start none."""
        self.store.update(lambda _: check_document({"settings": {"apiPort": 2017}}))
        self.assertEqual(list(self.part), [])

    def test_kept_and_applied(self):
        """What the API is told is in the store and in the engine."""
        self.assertEqual(self.send("PUT", "/services", [SERVICE])[0], 200)
        self.assertEqual(self.store.document.services, read_services([SERVICE]))
        self.assertEqual(self.statistics(), {"tcp-127_0_0_1-29000": True})
        self.assertEqual(self.send("PUT", "/services", [])[0], 200)
        self.assertEqual(self.store.document, Document())

    def test_told_by_the_store(self):
        """A document that comes from elsewhere is applied just the same."""
        self.store.update(lambda _: check_document({"services": [SERVICE]}))
        self.assertEqual(self.statistics(), {"tcp-127_0_0_1-29000": True})

    def test_apps(self):
        """An app's server is there while the app runs."""
        app = {"cwd": "/", "port": 3001, "running": True}
        service = {**SERVICE, "servers": [{"app": "shop.example"}]}
        document = check_document({"apps": {"shop.example": app}, "services": [service]})
        self.store.update(lambda _: document)
        self.assertEqual(self.running_servers(), 1)
        stopped = msgspec.structs.replace(document.apps["shop.example"], running=False)
        self.store.update(lambda document: document.with_app("shop.example", stopped))
        self.assertEqual(self.running_servers(), 0)

    def running_servers(self):
        """Return how many servers the engine sends new connections to."""
        ((balancer,),) = self.part
        (service,) = self.successResultOf(balancer.engine.read()).values()
        return sum(server.settings.weight > 0 for server in service.servers.values())

    def test_own_addresses(self):
        """A service can't have an address that ood listens on; nothing is kept."""
        status, answer = self.send("POST", "/services", {**SERVICE, "port": 80})
        self.assertEqual((status, answer), (400, {"error": "Socket in use: '127.0.0.1:80'"}))
        self.assertEqual(self.store.document, Document())

    def test_unknown_paths_and_methods(self):
        """A path or method that is none is answered in the form of all failures."""
        self.assertEqual(self.send("GET", "/services/x/y"), (404, {"error": "No Such Route"}))
        self.assertEqual(self.send("PATCH", "/services")[0], 405)


class SplitTests(SynchronousTestCase):
    """The kernel's engine and the relay side by side."""

    def setUp(self):
        self.clock = Clock()
        self.kernel = KernelEngine(self.clock, FakeKernel)
        self.relay = UserspaceEngine(Watched(), self.clock)
        parts = [
            BalancerService(engine, self.clock, MemoryOwnership(), lambda *_: None, lambda _: 3001)
            for engine in (self.kernel, self.relay)
        ]
        self.balancer = SplitBalancer(*parts)
        self.balancer.startService()
        self.addCleanup(self.balancer.stopService)

    def services(self, *servers):
        plain = {**SERVICE, "servers": list(servers), "drain": 0}
        marked = {"type": "fwmark", "mark": 7, "servers": []}
        return read_services([plain, marked])

    def carried(self):
        tables = [self.successResultOf(engine.read()) for engine in (self.kernel, self.relay)]
        return [sorted(key.mark for key in table) for table in tables]

    def test_each_where_it_can_run(self):
        """A service moves to the relay with its first app, and back with its last."""
        self.successResultOf(self.balancer.configure(self.services()))
        self.assertEqual(self.carried(), [[0, 7], []])
        self.successResultOf(self.balancer.configure(self.services({"app": "shop.example"})))
        self.assertEqual(self.carried(), [[7], [0]])
        found = self.successResultOf(self.balancer.statistics())
        self.assertEqual(set(found), {"tcp-127_0_0_1-29000", "fwmark-7"})
        self.successResultOf(self.balancer.configure(self.services()))
        self.assertEqual(self.carried(), [[0, 7], []])

    def test_refusals(self):
        """Only the kernel can gateway, so an app and such a server don't go together."""
        both = self.services({"app": "shop.example"}, {"host": "10.0.0.9", "port": 29_000})
        error = self.assertRaises(InvalidError, self.balancer.check, both)
        self.assertIn("for services with apps, the userspace engine", str(error))
        self.balancer.check(self.services({"host": "10.0.0.9", "port": 29_000}))
