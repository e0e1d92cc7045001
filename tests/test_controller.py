"""The controller: each verb over a real store and a monitor without processes."""

from pathlib import Path

import msgspec
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ood.controller import Controller
from ood.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    ReleaseError,
    StoreError,
    WorkerError,
)
from ood.events import EventBus
from ood.interfaces import IController, IProcessMonitor, IReleases
from ood.model.certificates import AppCertificate
from ood.model.release import Order, release_directory
from ood.store.file import FileStore
from ood.testing.monitor import MemoryMonitor
from ood.testing.releases import MemoryReleases


class NoLogs:
    """Logs of apps that never said anything."""

    def tail(self, app, lines, stream=None):
        return []

    def follow(self, app, callback):
        return lambda: None


class ControllerCase(SynchronousTestCase):
    """A controller over a real store, with everything below it in memory."""

    def setUp(self):
        self.directory = Path(self.mktemp()).absolute()
        self.site = self.directory / "site"
        self.site.mkdir(parents=True)
        (self.site / "server.js").write_text("")
        self.monitor = MemoryMonitor()
        self.store = FileStore(self.directory, maybeDeferred)
        self.releases = MemoryReleases(self.directory / "apps")
        self.store.subscribe(self.converge)
        self.controller = self.make_controller()

    def make_controller(self, **options):
        return Controller(
            self.store, self.monitor, NoLogs(), releases=self.releases, clock=Clock(), **options
        )

    def converge(self, document):
        apps = {name: self.releases.placed(name, app) for name, app in document.apps.items()}
        self.monitor.converge(msgspec.structs.replace(document, apps=apps))

    def init(self, name="example.com", **values):
        plain = {"cwd": str(self.site), "script": "server.js", **values}
        return self.controller.init(name, plain)

    def app(self, name="example.com"):
        return self.store.document.apps[name]


class Verbs(ControllerCase):
    """One verb a test."""

    def test_addresses_over_https(self):
        """Names with a certificate come first, with a port only where it is needed."""
        names = AppCertificate(state="valid", names=("example.com", "*.example.com"))
        self.successResultOf(self.init())
        for port, expected in ((443, "https://example.com"), (8443, "https://example.com:8443")):
            overrides = {"httpsPort": port}
            one = self.make_controller(overrides=overrides, certificate=lambda _: names)
            (status,) = one.status("example.com")
            self.assertEqual(expected, status.urls[0])
            self.assertFalse(any("*" in url for url in status.urls))
        off = self.make_controller(overrides={"httpsPort": 0}, certificate=lambda _: names)
        (status,) = off.status("example.com")
        self.assertFalse(any(url.startswith("https") for url in status.urls))

    def test_interfaces(self):
        """Controller and test double keep their contracts."""
        verifyObject(IController, self.controller)
        verifyObject(IProcessMonitor, self.monitor)
        verifyObject(IReleases, self.releases)

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
        (self.directory / "elsewhere.js").write_text("")
        self.successResultOf(self.init(script="../elsewhere.js"))
        error = self.failureResultOf(self.init("b", script="../none.js"), InvalidError).value
        self.assertIn("relative to cwd", str(error))

    def test_init_twice(self):
        """A second init of the same name, port or host changes nothing."""
        self.successResultOf(self.init())
        self.failureResultOf(self.init(), ConflictError)
        self.failureResultOf(self.init("b", port=3001), InvalidError)
        self.failureResultOf(self.init("b", domains=["example.com"]), InvalidError)
        self.assertEqual(list(self.store.document.apps), ["example.com"])

    def test_ports_in_force(self):
        """A port that an option gave to the service is taken, whatever the settings say."""
        self.controller = self.make_controller(overrides={"httpPort": 8123})
        error = self.failureResultOf(self.init(port=8123), InvalidError).value
        self.assertIn("settings.httpPort", error.message)

    def test_trouble(self):
        """What the proxy knows is part of the state that every verb answers with."""
        told = {"example.com": ("its port is in use",)}
        controller = self.make_controller(trouble=lambda name: told.get(name, ()))
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

    def test_start_again(self):
        """A start of an app that is to run already has what died tried at once."""
        self.successResultOf(self.init())
        self.successResultOf(self.controller.start("example.com"))
        self.assertEqual(self.monitor.retried, [])
        self.successResultOf(self.controller.start("example.com"))
        self.successResultOf(self.controller.stop("example.com"))
        self.assertEqual(self.monitor.retried, ["example.com"])

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

    def test_delete_what_others_need(self):
        """An app that another one routes to stays, and the reason names that one."""
        self.successResultOf(self.init())
        self.successResultOf(self.init("shop"))
        changes = {"routes": {"/api": "example.com"}}
        self.successResultOf(self.controller.configure("shop", changes))
        deleted = self.controller.delete("example.com")
        error = self.failureResultOf(deleted, ConflictError).value
        self.assertEqual(error.message, "shop routes /api to example.com")
        self.assertIn("ood config -a shop --unset routes./api", error.hint)
        self.assertIn("example.com", self.store.document.apps)
        self.successResultOf(self.controller.configure("shop", {"routes": {}}))
        self.successResultOf(self.controller.delete("example.com"))

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


class Deployments(ControllerCase):
    """Releases: made, run, refused, gone back to."""

    NAME = "example.com"

    def setUp(self):
        super().setUp()
        self.successResultOf(self.init())
        self.steps = []

    def start_app(self):
        self.successResultOf(self.controller.start(self.NAME))

    def deploy(self, **order):
        return self.controller.deploy(self.NAME, Order(**order), self.steps.append)

    def names(self):
        return [one.name for one in self.controller.releases(self.NAME)]

    def test_running(self):
        """The new workers are tried first, then the document changes and the oldest go."""
        self.start_app()
        status = self.successResultOf(self.deploy())
        (candidate,) = self.monitor.candidates
        self.assertTrue(candidate.cwd.endswith(f"releases/{self.app().release}"))
        self.assertEqual(self.monitor.document.apps[self.NAME], candidate)
        self.assertEqual((status.release, status.cwd), (self.app().release, candidate.cwd))
        self.assertEqual(self.app().cwd, str(self.site))
        self.assertEqual(self.releases.pruned, [self.app().release])
        self.assertEqual(self.steps[0].step, "copying")
        self.assertIn("starting it beside the old one", [step.step for step in self.steps])

    def test_stopped(self):
        """A stopped app is only switched."""
        status = self.successResultOf(self.deploy())
        self.assertEqual((status.state, self.monitor.restarted), ("stopped", []))
        self.assertEqual([one.current for one in self.controller.releases(self.NAME)], [True])

    def test_bad_release(self):
        """A release that does not come up leaves document and disk as they were."""
        self.start_app()
        self.successResultOf(self.deploy())
        before = self.store.document
        second = release_directory(str(self.directory / "apps"), self.NAME, "20260102-030401-0000")
        self.monitor.bad_directories.add(second)
        error = self.failureResultOf(self.deploy(), WorkerError).value
        self.assertEqual(error.log, ("bad release",))
        self.assertEqual(self.store.document, before)
        self.assertEqual(self.names(), [self.app().release])
        self.assertFalse(Path(second).exists())

    def test_without_script(self):
        """A release without the script never gets to the workers."""
        self.start_app()
        self.releases.file = "other.js"
        error = self.failureResultOf(self.deploy(), InvalidError).value
        self.assertIn("server.js", error.message)
        self.assertEqual((self.monitor.candidates, self.names()), ([], []))

    def test_build_fails(self):
        """What the build says reaches the user; the next deployment is not refused."""
        self.releases.failure = ReleaseError("npm failed")
        self.failureResultOf(self.deploy(), ReleaseError)
        self.successResultOf(self.deploy())

    def test_store_fails(self):
        """If the document can't be written, the old release is run again."""
        self.start_app()
        before = self.app()
        self.store.update = lambda change: maybeDeferred(_raise, StoreError("disk full"))
        self.failureResultOf(self.deploy(), StoreError)
        self.assertEqual(self.monitor.candidates[1], before)
        self.assertEqual(self.names(), [])

    def test_one_at_a_time(self):
        """Meanwhile the app can neither be deployed, rolled back nor deleted."""
        self.releases.held = []
        first = self.deploy()
        for other in (
            self.deploy(),
            self.controller.rollback(self.NAME, None),
            self.controller.delete(self.NAME),
        ):
            error = self.failureResultOf(other, ConflictError).value
            self.assertIn("Ctrl-C", error.hint)
        self.releases.held.pop().callback(None)
        self.successResultOf(first)
        self.releases.held = None
        self.successResultOf(self.deploy())

    def test_cancel_while_it_is_made(self):
        """Whoever asked goes away: nothing has changed, and another one may deploy."""
        self.releases.held = []
        first = self.deploy()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.releases.held = None
        self.successResultOf(self.deploy())

    def test_cancel_while_it_is_started(self):
        """Once the new workers are started, the deployment is carried out."""
        self.start_app()
        rolled = Deferred()
        self.monitor.restart = lambda app, candidate=None: rolled
        first = self.deploy()
        first.cancel()
        self.assertNoResult(first)
        rolled.callback(None)
        self.successResultOf(first)
        self.assertIsNotNone(self.app().release)

    def test_rollback(self):
        """To the one before, to a named one, to the app's own directory."""
        self.start_app()
        for _ in range(3):
            self.successResultOf(self.deploy())
        third, second, first = self.names()
        for wanted, release in ((None, second), (None, first), (third, third), ("cwd", None)):
            status = self.successResultOf(self.controller.rollback(self.NAME, wanted))
            self.assertEqual((self.app().release, status.release), (release, release or ""))
        self.assertEqual(self.monitor.candidates[-1].cwd, str(self.site))

    def test_script_moved(self):
        """A release may name another script; a way back takes the one that was run there."""
        self.start_app()
        self.successResultOf(self.deploy())
        self.releases.file = "main.js"
        self.successResultOf(self.deploy(script="main.js"))
        self.assertEqual(self.app().script, "main.js")
        self.assertEqual(self.monitor.candidates[-1].script, "main.js")
        self.successResultOf(self.controller.rollback(self.NAME, None))
        self.assertEqual(self.app().script, "server.js")
        self.successResultOf(self.controller.rollback(self.NAME, self.names()[0]))
        self.assertEqual(self.app().script, "main.js")

    def test_script_moved_in_vain(self):
        """If such a release does not come up, what is run stays what it was."""
        self.start_app()
        self.releases.file = "main.js"
        first = release_directory(str(self.directory / "apps"), self.NAME, "20260102-030400-0000")
        self.monitor.bad_directories.add(first)
        self.failureResultOf(self.deploy(script="main.js"), WorkerError)
        error = self.failureResultOf(self.deploy(script="nothing.js"), InvalidError).value
        self.assertIn("ood deploy APP --script FILE", str(error))
        self.failureResultOf(self.deploy(script="a\nb"), InvalidError)
        self.assertEqual((self.app().script, self.app().release), ("server.js", None))

    def test_rollback_refused(self):
        """Nothing to go back to, an unknown release, the current one."""
        self.failureResultOf(self.controller.rollback(self.NAME, None), ReleaseError)
        self.failureResultOf(self.controller.rollback(self.NAME, "cwd"), ConflictError)
        self.successResultOf(self.deploy())
        (only,) = self.names()
        error = self.failureResultOf(self.controller.rollback(self.NAME, None), ReleaseError).value
        self.assertIn("cwd", error.hint)
        for wanted, kind in (("../../etc", NotFoundError), (only, ConflictError)):
            error = self.failureResultOf(self.controller.rollback(self.NAME, wanted), kind).value
            self.assertIn(only, error.hint)

    def test_release_is_no_setting(self):
        """``ood config`` does not set it, and says what does."""
        for values in ({"release": "20260102-030405-0000"}, {"release": None}):
            error = self.failureResultOf(self.controller.configure(self.NAME, values)).value
            self.assertIn("ood deploy and ood rollback", error.message)

    def test_told(self):
        """Each deployment and roll-back is one event that says how it ended."""
        events, told = EventBus(), []
        events.subscribe(told.append)
        self.controller = self.make_controller(events=events)
        self.successResultOf(self.deploy())
        self.releases.failure = ReleaseError("npm failed")
        self.failureResultOf(self.deploy(), ReleaseError)
        self.successResultOf(self.controller.rollback(self.NAME, "cwd"))
        self.failureResultOf(self.controller.rollback(self.NAME, "cwd"), ConflictError)
        self.releases.held = []
        cancelled = self.deploy()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        (release,) = self.names()
        self.assertEqual(
            [(one.data["action"], one.data["outcome"], one.data["release"]) for one in told],
            [
                ("deploy", "succeeded", release),
                ("deploy", "failed", release),
                ("rollback", "succeeded", "cwd"),
                ("deploy", "cancelled", "cwd"),
            ],
        )
        self.assertEqual({one.kind for one in told}, {"deploy"})
        failed = f"the deployment of {self.NAME} failed; {release} serves on: npm failed"
        self.assertEqual(told[1].text, failed)

    def test_delete(self):
        """Releases stay when an app is deleted, unless they are purged."""
        self.successResultOf(self.deploy())
        self.successResultOf(self.controller.delete(self.NAME))
        self.assertTrue((self.directory / "apps" / self.NAME).exists())
        self.successResultOf(self.init())
        self.successResultOf(self.controller.delete(self.NAME, purge=True))
        self.assertFalse((self.directory / "apps" / self.NAME).exists())


def _raise(error):
    raise error
