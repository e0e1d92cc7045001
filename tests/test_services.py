"""What every service of ood promises: after ``stopService`` nothing of it is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, execute, maybeDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from ood.api.service import ApiService
from ood.api.site import make_site
from ood.balancer.part import BalancerPart
from ood.certs.part import CertificatesPart
from ood.clock import MonotonicClock
from ood.events import EventBus
from ood.model.document import App, Document, Settings
from ood.model.notify import Target
from ood.model.upstreams import UPSTREAMS
from ood.net.listen import bind
from ood.notify.service import Notifier
from ood.procmon.hooks import Hooks
from ood.procmon.logs import Logs
from ood.procmon.monitor import ProcessMonitor
from ood.proxy.edge import ReverseProxy
from ood.proxy.remotes import Remotes
from ood.service import Options, makeService
from ood.store.file import FileStore
from ood.testing.controller import MemoryController
from ood.testing.monitor import MemoryMonitor
from tests.support.ports import free_ports


class EveryService(TestCase):
    """One promise, each service.  Trial itself finds delayed calls that are left."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.clock = MonotonicClock(reactor)

    def watched(self) -> set[Any]:
        """Return what the reactor watches."""
        return {*reactor.getReaders(), *reactor.getWriters()}

    async def keeps_its_promise(self, make: Callable[[], Any]) -> None:
        await deferLater(reactor, 0, lambda: None)  # the reactor's own descriptors are there
        before = self.watched()
        service = make()
        verifyObject(IService, service)
        service.startService()
        await maybeDeferred(service.stopService)
        self.assertFalse(service.running)
        self.assertEqual(self.watched() - before, set())

    def check(self, make: Callable[[], Any]) -> Deferred[None]:
        return Deferred.fromCoroutine(self.keeps_its_promise(make))

    def test_logs(self) -> Deferred[None]:
        """The apps' logs."""
        return self.check(lambda: Logs(self.directory, self.clock, execute))

    def test_process_monitor(self) -> Deferred[None]:
        """The process monitor."""

        def make() -> ProcessMonitor:
            logs = Logs(self.directory / "logs", self.clock, execute)
            return ProcessMonitor(reactor, self.clock, self.directory / "run", logs)

        return self.check(make)

    def test_reverse_proxy(self) -> Deferred[None]:
        """The reverse proxy with a listening socket."""

        def make() -> ReverseProxy:
            sock = bind("127.0.0.1", free_ports(1)[0], what="test")
            return ReverseProxy(reactor, self.clock, MemoryMonitor(), [sock])

        return self.check(make)

    def test_remotes(self) -> Deferred[None]:
        """Apps whose servers are elsewhere, with a check and a look-up under way."""

        def make() -> Remotes:
            remotes = Remotes(reactor, self.clock, lambda app, text: None)
            written = [f"127.0.0.1:{free_ports(1)[0]}", "localhost:1", "unix:/nonexistent"]
            upstreams = UPSTREAMS.parse(written)
            app = App(type="proxy", port=3001, upstreams=upstreams, running=True)
            remotes.converge(Document(apps={"one": app, "two": app}))
            return remotes

        return self.check(make)

    def test_api(self) -> Deferred[None]:
        """The API."""

        def make() -> ApiService:
            site = make_site(MemoryController(), "a token of some length", reactor=self.clock)
            sock = bind("127.0.0.1", free_ports(1)[0], what="test")
            return ApiService(site, sock, reactor, self.clock)

        return self.check(make)

    def test_notifier(self) -> Deferred[None]:
        """Notifications, with a program that is being run."""

        def make() -> Notifier:
            events = EventBus()
            notifier = Notifier(self.clock, events, Hooks(reactor, self.clock, {}).run)
            target = Target(command=("sleep", "60"))
            notifier.converge(Document(settings=Settings(notify=(target,))))
            events.publish("death", "x died", "x")
            return notifier

        return self.check(make)

    def test_balancer(self) -> Deferred[None]:
        """The balancer with a service on the relay."""
        service = {"host": "127.0.0.1", "port": free_ports(1)[0]}
        document = json.dumps({"services": [service]})
        (self.directory / "config.json").write_text(document)
        store = FileStore(self.directory, deferToThread)

        def make() -> BalancerPart:
            record = self.directory / "balancer.json"
            part = BalancerPart(store, "userspace", reactor, self.clock, record)
            part.converge(store.document)
            return part

        return self.check(make)

    def test_certificates(self) -> Deferred[None]:
        """The certificates, in the middle of asking a CA that does not answer."""
        (port,) = free_ports(1)
        url = f"https://127.0.0.1:{port}/dir"
        settings = Settings(https_port=8443, acme_agree_tos=True, acme_directory=url)
        app = App(cwd="/", port=3001, domains=("shop.example.com",), running=True)

        def make() -> CertificatesPart:
            part = CertificatesPart(self.directory / "certs", reactor, self.clock, root=False)
            part.converge(Document(settings=settings, apps={"shop": app}))
            return part

        return self.check(make)

    def test_everything(self) -> Deferred[None]:
        """The whole of ood; its home is free again for the next one."""

        def make() -> IService:
            http, api = free_ports(2)
            options = Options()
            options.parseOptions(
                [f"--home={self.directory}", f"--http-port={http}", f"--api-port={api}"]
            )
            return makeService(options)

        async def twice() -> None:
            await self.keeps_its_promise(make)
            await self.keeps_its_promise(make)

        return Deferred.fromCoroutine(twice())
