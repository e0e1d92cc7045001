"""The controller: each verb over a real store and a monitor without processes."""

from pathlib import Path

from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ood.controller import Controller
from ood.errors import ConflictError, InvalidError, NotFoundError, WorkerError
from ood.interfaces import IController, IProcessMonitor
from ood.store.file import FileStore
from ood.testing.monitor import MemoryMonitor


class NoLogs:
    """Logs of apps that never said anything."""

    def tail(self, app, lines, stream=None):
        return []

    def follow(self, app, callback):
        return lambda: None


class Verbs(SynchronousTestCase):
    """One verb a test."""

    def setUp(self):
        self.directory = Path(self.mktemp()).absolute()
        self.site = self.directory / "site"
        self.site.mkdir(parents=True)
        (self.site / "server.js").write_text("")
        self.monitor = MemoryMonitor()
        self.store = FileStore(self.directory, maybeDeferred)
        self.store.subscribe(self.monitor.converge)
        self.controller = Controller(self.store, self.monitor, NoLogs())

    def init(self, name="example.com", **values):
        plain = {"cwd": str(self.site), "script": "server.js", **values}
        return self.controller.init(name, plain)

    def app(self, name="example.com"):
        return self.store.document.apps[name]

    def test_interfaces(self):
        """Controller and test double keep their contracts."""
        verifyObject(IController, self.controller)
        verifyObject(IProcessMonitor, self.monitor)

    def test_init_assigns_ports(self):
        """Each app gets the next free port, unless one is named."""
        self.assertEqual(self.successResultOf(self.init())["port"], 3001)
        self.assertEqual(self.successResultOf(self.init("b", port=3002))["port"], 3002)
        self.assertEqual(self.successResultOf(self.init("c"))["port"], 3003)

    def test_init_refuses(self):
        """Every fault is named at once, and nothing is added."""
        error = self.failureResultOf(
            self.init(port="x", instances=0, intances=1, running=True), InvalidError
        ).value
        self.assertEqual([fault.key for fault in error.faults], ["running"])
        error = self.failureResultOf(self.init(port="x", instances=0, intances=1)).value
        self.assertEqual({fault.key for fault in error.faults}, {"port", "instances", "intances"})
        self.assertIn("did you mean instances?", error.message)
        for values in ({"script": "none.js"}, {"cwd": "/no/such/place"}):
            self.failureResultOf(self.init(**values), InvalidError)
        self.assertEqual(self.store.document.apps, {})

    def test_a_script_elsewhere(self):
        """A script may be anywhere; a missing one is told as what it is: relative to cwd."""
        (self.directory / "shared.js").write_text("")
        self.successResultOf(self.init(script="../shared.js"))
        error = self.failureResultOf(self.init("b", script="../none.js"), InvalidError).value
        self.assertIn("relative to cwd", str(error))

    def test_init_twice(self):
        """A second init of the same name, port or host changes nothing."""
        self.successResultOf(self.init())
        self.failureResultOf(self.init(), ConflictError)
        self.failureResultOf(self.init("b", port=3001), InvalidError)
        self.failureResultOf(self.init("b", domains=["example.com"]), InvalidError)
        self.assertEqual(list(self.store.document.apps), ["example.com"])

    def test_trouble(self):
        """What the proxy knows is part of the state that every verb answers with."""
        told = {"example.com": ("its port is in use",)}
        controller = Controller(
            self.store, self.monitor, NoLogs(), trouble=lambda name: told.get(name, ())
        )
        self.successResultOf(self.init())
        for status in (
            self.successResultOf(controller.start("example.com")),
            self.successResultOf(controller.restart("example.com")),
            self.successResultOf(controller.scale("example.com", "2")),
            *controller.status(None),
        ):
            self.assertEqual(("its port is in use",), status.trouble)

    def test_start_and_stop(self):
        """start and stop set what is wanted, and answer with the live state."""
        self.successResultOf(self.init())
        self.assertEqual(self.successResultOf(self.controller.start("example.com")).state, "online")
        self.assertTrue(self.app().running)
        stopped = self.successResultOf(self.controller.stop("example.com"))
        self.assertEqual((stopped.state, stopped.workers), ("stopped", ()))

    def test_start_of_a_broken_app(self):
        """The reason reaches the user; the app stays wanted and goes on being tried."""
        self.successResultOf(self.init())
        self.monitor.broken.add("example.com")
        error = self.failureResultOf(self.controller.start("example.com"), WorkerError).value
        self.assertEqual(error.log, ("boom",))
        self.assertTrue(self.app().running)

    def test_unknown_app(self):
        """Every verb names the apps there are."""
        self.successResultOf(self.init())
        for verb in ("start", "stop", "restart", "delete"):
            error = self.failureResultOf(
                getattr(self.controller, verb)("nope"), NotFoundError
            ).value
            self.assertIn("example.com", error.hint)
        self.failureResultOf(self.controller.scale("nope", "1"), NotFoundError)
        self.assertRaises(NotFoundError, self.controller.status, "nope")
        self.assertRaises(NotFoundError, self.controller.configuration, "nope")
        self.assertRaises(NotFoundError, self.controller.tail, "nope", 1, None)

    def test_scale(self):
        """Absolute, relative and refused numbers."""
        self.successResultOf(self.init())
        for wanted, instances in (("3", 3), ("+2", 5), ("-4", 1), ("max", "max")):
            self.successResultOf(self.controller.scale("example.com", wanted))
            self.assertEqual(self.app().instances, instances)
        for wanted in ("0", "-600", "x", "", "1.5", "+"):
            self.failureResultOf(self.controller.scale("example.com", wanted), InvalidError)
        self.assertEqual(self.app().instances, "max")

    def test_restart(self):
        """A running app is rolled; a stopped one is started."""
        self.successResultOf(self.init())
        self.successResultOf(self.controller.restart("example.com"))
        self.assertEqual((self.app().running, self.monitor.restarted), (True, []))
        self.successResultOf(self.controller.restart("example.com"))
        self.assertEqual(self.monitor.restarted, ["example.com"])

    def test_delete(self):
        """A deleted app is gone from the document; its directory stays."""
        self.successResultOf(self.init())
        self.successResultOf(self.controller.start("example.com"))
        self.successResultOf(self.controller.delete("example.com"))
        self.assertEqual((self.store.document.apps, self.site.exists()), ({}, True))

    def test_configure_app(self):
        """Keys are set, reset to their default, and refused, all or none."""
        self.successResultOf(self.init())
        configure = self.controller.configure
        changes = {"killTimeout": "5s", "env.A": "1"}
        values = self.successResultOf(configure("example.com", changes))
        self.assertEqual((values["killTimeout"], values["env"]), (5000, {"A": "1"}))
        values = self.successResultOf(configure("example.com", {"killTimeout": None}))
        self.assertEqual(values["killTimeout"], 30_000)
        for changes in ({"cwd": "relative"}, {"running": True}, {"env.A": "2", "port": 0}):
            self.failureResultOf(configure("example.com", changes), InvalidError)
        self.assertEqual(self.app().env, {"A": "1"})

    def test_configure_settings(self):
        """The service's own settings, with the collision of ports found."""
        values = self.successResultOf(self.controller.configure(None, {"httpPort": "8081"}))
        self.assertEqual(values["httpPort"], 8081)
        self.failureResultOf(self.controller.configure(None, {"httpsPort": 8081}), InvalidError)
        self.failureResultOf(self.controller.configure(None, {"httpport": 1}), InvalidError)
        self.assertEqual(self.controller.configuration(None)["httpPort"], 8081)
