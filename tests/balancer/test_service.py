"""The balancer's service over the fake kernel: converging, draining, drift, health, crashes."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.balancer.core.state import Counts, desired_state, server_key, virtual_key
from ood.balancer.kernel import KernelEngine
from ood.balancer.netlink import IpvsUnavailableError
from ood.balancer.ownership import FileOwnership, MemoryOwnership
from ood.balancer.service import DRAIN_SECONDS, DRIFT_SECONDS, RETRY_SECONDS, BalancerService
from ood.balancer.testing import FakeKernel
from ood.balancer.userspace import refused
from ood.errors import InvalidError
from ood.model.servicecheck import read_services


def documents(*servers, **fields):
    return [
        {
            "host": "10.0.0.1",
            "port": 80,
            "scheduler": "rr",
            "servers": [{"host": f"10.0.1.{n}", "port": 80, "forwarder": "m"} for n in servers],
            **fields,
        }
    ]


class Prober:
    """Says what a test wants of each server."""

    def __init__(self):
        self.dead = {}
        self.asked = 0

    def __call__(self, service, server):
        self.asked += 1
        return succeed(self.dead.get(server.host))


class ServiceCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.kernel = FakeKernel()
        self.ownership = MemoryOwnership()
        self.prober = Prober()
        self.service = self.start()

    def start(self, ownership=None):
        engine = KernelEngine(self.clock, lambda: self.kernel)
        service = BalancerService(engine, self.clock, ownership or self.ownership, self.prober)
        service.startService()
        self.addCleanup(self.stop, service)
        return service

    def stop(self, service):
        if service.running:
            self.successResultOf(service.stopService())

    def configure(self, *args, **fields):
        wanted = read_services(documents(*args, **fields))
        self.assertEqual(self.successResultOf(self.service.configure(wanted)), ())
        return wanted

    def weights(self):
        """Return the servers' weights by the last number of their address."""
        return {
            key.address[-1]: server.settings.weight
            for service in self.kernel.services.values()
            for key, server in service.servers.items()
        }

    def busy(self, wanted, number, **counts):
        """Let a server have connections."""
        server = next(s for s in wanted[0].servers if s.host.endswith(f".{number}"))
        self.kernel.set_counts(virtual_key(wanted[0]), server_key(server), Counts(**counts))


class ConvergenceTests(ServiceCase):
    def test_it_applies(self):
        """What is configured is in the kernel when the Deferred fires."""
        self.configure(1, 2)
        self.assertEqual(self.weights(), {1: 1, 2: 1})

    def test_nothing_before_a_configuration(self):
        """Until somebody configures it, the service touches nothing, not even what was ours."""
        self.configure(1)
        self.successResultOf(self.service.stopService())
        self.service = self.start()
        self.clock.advance(60)
        self.assertEqual(self.weights(), {1: 1})

    def test_a_leaving_server_drains(self):
        """It is quiesced, waits for its connections, and is removed."""
        wanted = self.configure(1, 2)
        self.busy(wanted, 2, active=1)
        self.configure(1)
        self.assertEqual(self.weights(), {1: 1, 2: 0})
        self.clock.advance(DRAIN_SECONDS)
        self.assertEqual(self.weights(), {1: 1, 2: 0})
        self.busy(wanted, 2, inactive=1)
        self.clock.advance(DRAIN_SECONDS)
        self.assertEqual(self.weights(), {1: 1})

    def test_draining_ends_in_time(self):
        """Connections that stay for longer are not waited for."""
        wanted = self.configure(1, 2, drain=3)
        self.busy(wanted, 2, active=1)
        self.configure(1, drain=3)
        self.clock.pump([DRAIN_SECONDS] * 2)
        self.assertEqual(self.weights(), {1: 1, 2: 0})
        self.clock.advance(DRAIN_SECONDS)
        self.assertEqual(self.weights(), {1: 1})

    def test_a_service_that_leaves(self):
        """Its servers drain, and it is gone."""
        self.configure(1)
        self.successResultOf(self.service.configure(()))
        self.assertEqual(self.weights(), {1: 0})
        self.clock.advance(DRAIN_SECONDS)
        self.assertEqual(self.kernel.services, {})
        self.assertEqual(self.ownership.load(), {})

    def test_failures_are_told_and_tried_again(self):
        """A step that the kernel refuses is reported, and done when it can be."""
        wanted = read_services(documents(1))
        schedulers = self.patch_schedulers(())
        (failure,) = self.successResultOf(self.service.configure(wanted))[:1]
        self.assertIn("lacks the scheduler", failure.reason)
        schedulers.restore()
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.weights(), {1: 1})
        self.assertEqual(self.service.failures, ())

    def patch_schedulers(self, names):
        """Let the fake kernel have these schedulers only."""
        from ood.balancer import testing

        return self.patch(testing, "SCHEDULERS", names)

    def test_an_engine_that_fails(self):
        """Who waits is told; the service goes on trying."""
        answers, self.kernel.recv = self.kernel.recv, self.silent
        self.failureResultOf(
            self.service.configure(read_services(documents(1))), IpvsUnavailableError
        )
        self.assertEqual(len(self.flushLoggedErrors(IpvsUnavailableError)), 1)
        self.kernel.recv = answers
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.weights(), {1: 1})

    def silent(self, size):
        self.kernel._answers.clear()
        raise BlockingIOError(11, "Resource temporarily unavailable")

    def test_refusals(self):
        """What an engine can't do is refused before it is kept, with the reason."""
        (service,) = read_services(documents(1))
        self.service.check([service])
        self.patch(self.service.engine, "refusals", lambda services: refused(gatewayed()))
        with self.assertRaises(InvalidError) as caught:
            self.service.check([service])
        self.assertIn("only the kernel can forward without masquerading", str(caught.exception))


def gatewayed():
    server = {"host": "10.0.1.1", "port": 80, "forwarder": "g"}
    (service,) = read_services([{"host": "10.0.0.1", "port": 80, "servers": [server]}])
    return service


class DriftTests(ServiceCase):
    def test_drift_is_put_right_and_counted(self):
        """What somebody else removed comes back within the interval."""
        self.configure(1, 2)
        (service,) = self.kernel.services.values()
        service.servers.popitem()
        self.clock.advance(DRIFT_SECONDS)
        self.assertEqual(self.weights(), {1: 1, 2: 1})
        self.assertEqual(self.service.drift, 1)

    def test_our_own_changes_are_no_drift(self):
        """Configuring, draining and health are not reported as somebody else's work."""
        self.configure(1, 2)
        self.configure(1)
        self.clock.pump([DRAIN_SECONDS] * 3)
        self.assertEqual(self.service.drift, 0)


class HealthTests(ServiceCase):
    check = {"type": "tcp", "interval": 2, "retries": 1, "rise": 2}

    def seconds(self, count):
        self.clock.pump([1] * count)

    def test_a_dead_server_leaves_and_comes_back(self):
        """After the retries it is out; after the successes it is in again."""
        told = []
        self.service.tell_health(lambda *what: told.append(what))
        self.configure(1, 2, check=self.check)
        self.prober.dead["10.0.1.2"] = "connection refused"
        self.seconds(1)
        self.assertEqual(self.weights(), {1: 1, 2: 1})
        self.seconds(4)
        self.assertEqual(self.weights(), {1: 1})
        self.prober.dead.clear()
        self.seconds(6)
        self.assertEqual(self.weights(), {1: 1, 2: 1})
        self.assertEqual(self.service.drift, 0)
        names = ("tcp-10_0_0_1-80", "10_0_1_2-80")
        expected = [(*names, False, "connection refused"), (*names, True, "")]
        self.assertEqual(told, expected)

    def test_quiescing(self):
        """With on_failure quiesce it stays, with weight 0."""
        self.configure(1, 2, check={**self.check, "on_failure": "quiesce"})
        self.prober.dead["10.0.1.1"] = "status 503"
        self.seconds(6)
        self.assertEqual(self.weights(), {1: 0, 2: 1})
        statistics = self.successResultOf(self.service.statistics())
        server = statistics["tcp-10_0_0_1-80"]["servers"]["10_0_1_1-80"]
        self.assertEqual((server["up"], server["check"]), (False, "status 503"))

    def test_what_is_known_survives_other_changes(self):
        """A dead server does not come back because something else was configured."""
        self.configure(1, 2, check=self.check)
        self.prober.dead["10.0.1.2"] = "dead"
        self.seconds(6)
        self.configure(1, 2, 3, check=self.check)
        self.assertEqual(self.weights(), {1: 1, 3: 1})

    def test_a_probe_that_breaks(self):
        """A probe with an error of its own counts as failed, and probing goes on."""
        self.prober.dead["10.0.1.1"] = "unused"

        def broken(service, server):
            raise ValueError("oops")

        self.service._checker._prober = broken
        self.configure(1, check=self.check)
        self.seconds(3)
        self.assertEqual(self.weights(), {})
        self.assertGreater(len(self.flushLoggedErrors(ValueError)), 1)

    def test_probing_stops(self):
        """Nothing is probed any more once the service has stopped."""
        self.configure(1, check=self.check)
        self.seconds(3)
        self.successResultOf(self.service.stopService())
        asked = self.prober.asked
        self.seconds(10)
        self.assertEqual(self.prober.asked, asked)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RobustnessTests(ServiceCase):
    def test_an_unexpected_error(self):
        """Not even a fault of our own makes the balancer give up."""
        read = self.service.engine.read
        self.service.engine.read = lambda: fail(KeyError("bug"))
        self.failureResultOf(self.service.configure(read_services(documents(1))), KeyError)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.service.engine.read = read
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.weights(), {1: 1})


class AppTests(ServiceCase):
    def test_apps_come_and_go(self):
        """An app is a server while it runs, at the port that it has then."""
        ports = {}
        self.service._port_of = ports.get
        wanted = read_services(
            [{"host": "127.0.0.1", "port": 80, "drain": 0, "servers": [{"app": "shop"}]}]
        )
        self.successResultOf(self.service.configure(wanted))
        for present in ({"shop": 3001}, {"shop": 3002}, {}):
            ports.clear()
            ports.update(present)
            self.service.wake()
            (service,) = self.kernel.services.values()
            self.assertEqual([key.port for key in service.servers], list(present.values()))
        with self.assertRaises(InvalidError) as caught:
            self.service.check(wanted)
        self.assertIn("loopback", str(caught.exception))


class StoppingTests(ServiceCase):
    def test_it_waits_for_what_runs(self):
        """A probe that runs is cancelled, and then the service has stopped."""
        running = []

        def hang(service, server):
            running.append(Deferred())
            return running[-1]

        self.service._checker._prober = hang
        self.configure(1, check={"type": "tcp"})
        self.clock.advance(1)
        self.successResultOf(self.service.stopService())
        self.assertTrue(running[0].called)
        self.assertTrue(self.kernel.closed)


class OwnershipTests(ServiceCase):
    def record(self):
        boot = Path(self.mktemp())
        boot.write_text("boot one\n")
        return boot, FileOwnership(Path(self.mktemp()), boot)

    def test_a_restart_knows_what_is_ours(self):
        """What the last run made is removed by the next one when it isn't wanted any more."""
        _, ownership = self.record()
        self.service = self.start(ownership)
        self.configure(1, drain=0)
        self.successResultOf(self.service.stopService())
        self.service = self.start(ownership)
        self.successResultOf(self.service.configure(()))
        self.assertEqual(self.kernel.services, {})

    def test_a_boot_ends_ownership(self):
        """After a boot the kernel's table was made by somebody else."""
        boot, ownership = self.record()
        ownership.save({virtual_key(read_services(documents())[0]): 5})
        self.assertEqual(len(ownership.load()), 1)
        boot.write_text("boot two\n")
        self.assertEqual(FileOwnership(ownership._path, boot).load(), {})

    def test_a_damaged_record(self):
        """Without a readable record nothing is taken for ours."""
        boot, ownership = self.record()
        ownership._path.write_text("{")
        self.assertEqual(FileOwnership(ownership._path, boot).load(), {})

    def test_a_crash_in_the_middle(self):
        """Killed after any number of steps, a restart arrives at the old or the new state."""
        old = read_services(documents(1, 2, drain=0))
        new = read_services(documents(2, 3, drain=0) + documents(4, drain=0, port=81))
        for after in (old, new):
            for steps in range(6):
                with self.subTest(steps=steps):
                    self.crash(old, new, steps)
                    self.service = self.start()
                    self.successResultOf(self.service.configure(after))
                    found = {
                        key: {k: s.settings for k, s in service.servers.items()}
                        for key, service in self.kernel.services.items()
                    }
                    wanted = {key: dict(s.servers) for key, s in desired_state(after).items()}
                    self.assertEqual(found, wanted)
                    self.successResultOf(self.service.stopService())

    def crash(self, old, new, steps):
        """Configure ``old``, then die after some steps to ``new``."""
        self.kernel.services.clear()
        service = self.start()
        self.successResultOf(service.configure(old))
        execute = service.engine.execute
        self.patch(service.engine, "execute", lambda planned: execute(planned[:steps]))
        self.successResultOf(service.configure(new))
        self.successResultOf(service.stopService())
