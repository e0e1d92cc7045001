"""The service as its neighbours see it."""

from __future__ import annotations

import socket

import msgspec
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from ood.errors import NotFoundError, UnavailableError, WorkerError
from ood.interfaces import ILogs, IProcessMonitor
from ood.model.document import App, Document
from tests.procmon.support import SERVER, MonitorTestCase
from tests.support.ports import free_port


class MonitorTests(MonitorTestCase):
    """A monitor without an app that runs."""

    def test_interfaces(self) -> None:
        """It keeps the contracts."""
        verifyObject(IProcessMonitor, self.monitor)
        verifyObject(ILogs, self.logs)

    def test_unknown_app(self) -> None:
        """What is asked about an app that is not there is refused, or empty."""
        self.assertRaises(NotFoundError, self.monitor.status, "x")
        self.failureResultOf(self.monitor.restart("x"), NotFoundError)
        self.failureResultOf(self.monitor.when_available("x"), UnavailableError)
        self.successResultOf(self.monitor.settled("x"))
        self.assertIsNone(self.monitor.connect("x"))
        self.assertFalse(self.monitor.takes_sockets("x", alone=True))
        with socket.socket() as sock:
            self.assertFalse(self.monitor.hand_off("x", sock, lambda _app, _sock: None))

    def test_stopped_app(self) -> None:
        """An app that is stopped has a state, and can't be restarted."""
        self.converge(running=False)
        status = self.monitor.status("app")
        self.assertEqual((status.state, status.wanted, status.workers), ("stopped", 0, ()))
        self.assertIn(f"http://127.0.0.1:{self.app.port}", status.urls)
        self.failureResultOf(self.monitor.restart("app"), WorkerError)
        self.successResultOf(self.monitor.settled("app"))

    def test_deleted_app(self) -> None:
        """An app that is deleted is forgotten, with its sockets."""
        self.converge(running=False)
        self.monitor.converge(Document())
        self.assertRaises(NotFoundError, self.monitor.status, "app")
        self.assertEqual(self.monitor._apps, {})
        self.assertEqual(list((self.home / "run").glob("app*")), [])

    def test_run_directory(self) -> None:
        """Everyone may pass through the directory and read the guard; nobody may look around."""
        run = self.home / "run"
        self.assertEqual(run.stat().st_mode & 0o777, 0o711)
        (guard,) = run.glob("guard-*")
        self.assertEqual(guard.stat().st_mode & 0o777, 0o755)
        self.assertTrue((guard / "guard.cjs").exists())
        self.assertTrue(all(one.stat().st_mode & 0o777 == 0o644 for one in guard.iterdir()))

    def test_stop_twice(self) -> Deferred[None]:
        """A service that has stopped can be stopped again, and started."""

        async def play() -> None:
            await self.monitor.stopService()
            await self.monitor.stopService()
            self.monitor.converge(Document(apps={"app": self.app}))
            self.assertEqual(self.monitor._apps, {})
            self.monitor.startService()
            self.assertIn("app", self.monitor._apps)
            await self.monitor.settled("app")

        return Deferred.fromCoroutine(play())

    def test_depends_on(self) -> Deferred[None]:
        """An app is started when those that it needs answer, whatever their order."""

        async def play() -> None:
            self.write("slow.js", f"setTimeout(() => {{ {SERVER} }}, 700);")
            api = App(cwd=str(self.cwd), port=free_port(), script="slow.js", running=True)
            web = msgspec.structs.replace(self.app, depends_on=("api",))
            self.monitor.converge(Document(apps={"app": web, "api": api}))
            self.assertEqual(self.monitor.status("app").workers[0].reason, "waits for api")
            await self.monitor.settled("app")
            self.assertEqual(self.monitor.status("api").state, "online")

        return Deferred.fromCoroutine(play())
