"""Plans: they arrive, in an order that drops nothing, and leave others alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.balancer.core.plan import (
    AddServer,
    AddService,
    EditServer,
    EditService,
    RemoveServer,
    RemoveService,
    apply_steps,
    make_plan,
)
from ood.balancer.core.state import (
    ActualServer,
    ActualService,
    Counts,
    DesiredService,
    ServerKey,
    ServerSettings,
    VirtualKey,
    VirtualSettings,
    desired_state,
)
from ood.model.servicecheck import read_services

TCP = VirtualKey(4, 6, bytes([10, 0, 0, 1]), 80)
UDP = VirtualKey(4, 17, bytes([10, 0, 0, 1]), 53)
RR, WLC = VirtualSettings("rr"), VirtualSettings("wlc")
ONE, TWO, THREE = (ServerKey(bytes([10, 0, 1, n]), 80) for n in (1, 2, 3))
PLAIN, HEAVY, QUIET = (ServerSettings(0, weight) for weight in (1, 9, 0))
BUSY = Counts(active=3)

keys = st.sampled_from((TCP, UDP))
servers = st.sampled_from((ONE, TWO, THREE))
settings = st.builds(ServerSettings, st.just(0), st.integers(0, 2))
desired_states = st.dictionaries(
    keys,
    st.builds(
        DesiredService,
        st.sampled_from((RR, WLC)),
        st.dictionaries(servers, settings),
        st.sampled_from((0, 30)),
        st.frozensets(servers, max_size=1),
    ),
)
actual_states = st.dictionaries(
    keys,
    st.builds(
        ActualService,
        st.sampled_from((RR, WLC)),
        st.dictionaries(
            servers,
            st.builds(ActualServer, settings, st.builds(Counts, st.integers(0, 1))),
        ),
    ),
)


def wanted(*present, drain=30, dead=()):
    return DesiredService(RR, dict(present), drain, frozenset(dead))


def standing(*present, counts=BUSY):
    return ActualService(RR, {key: ActualServer(value, counts) for key, value in present})


def plan(desired, actual, owned=None, draining=None, now=100.0):
    return make_plan(desired, actual, owned or {}, draining or {}, now)


class OrderTests(SynchronousTestCase):
    def test_a_new_service(self):
        """It is added with its servers in their order."""
        made = plan({TCP: wanted((ONE, PLAIN), (TWO, HEAVY))}, {})
        self.assertEqual(
            made.steps,
            (AddService(TCP, RR), AddServer(TCP, ONE, PLAIN), AddServer(TCP, TWO, HEAVY)),
        )

    def test_joining_comes_before_leaving(self):
        """There is always a server to go to: join, edit, then quiesce who leaves."""
        desired = {TCP: wanted((TWO, HEAVY), (THREE, PLAIN))._replace(settings=WLC)}
        made = plan(desired, {TCP: standing((ONE, PLAIN), (TWO, PLAIN))})
        self.assertEqual(
            made.steps,
            (
                AddServer(TCP, THREE, PLAIN),
                EditServer(TCP, TWO, HEAVY),
                EditService(TCP, WLC),
                EditServer(TCP, ONE, QUIET),
            ),
        )
        self.assertEqual(made.draining, {(TCP, ONE): 130.0})

    def test_nothing_to_do(self):
        """What is as it shall be gets no step."""
        made = plan({TCP: wanted((ONE, PLAIN))}, {TCP: standing((ONE, PLAIN))})
        self.assertEqual((made.steps, made.draining), ((), {}))

    def test_others_are_left_alone(self):
        """A service that is not ours stays as it is."""
        self.assertEqual(plan({}, {TCP: standing((ONE, PLAIN))}).steps, ())


class DrainTests(SynchronousTestCase):
    draining = {(TCP, ONE): 130.0}

    def leaving(self, now, counts, key=TCP):
        actual = {key: standing((ONE, QUIET), (TWO, PLAIN), counts=counts)}
        desired = {key: wanted((TWO, PLAIN))}
        return plan(desired, actual, draining={(key, ONE): 130.0}, now=now)

    def test_it_waits_for_connections(self):
        """A quiesced server stays while something is alive on it, until its time is up."""
        waiting = self.leaving(110.0, BUSY)
        self.assertEqual((waiting.steps, waiting.draining), ((), {(TCP, ONE): 130.0}))
        self.assertEqual(self.leaving(130.0, BUSY).steps, (RemoveServer(TCP, ONE),))

    def test_it_goes_when_nothing_is_alive(self):
        """Closed TCP connections are not waited for; UDP flows are."""
        over = Counts(inactive=5)
        self.assertEqual(self.leaving(110.0, over).steps, (RemoveServer(TCP, ONE),))
        self.assertEqual(self.leaving(110.0, over, UDP).steps, ())
        self.assertEqual(self.leaving(110.0, Counts(), UDP).steps, (RemoveServer(UDP, ONE),))

    def test_quiet_first(self):
        """Even an idle server is quiesced first: a connection may be on its way."""
        actual = {TCP: standing((ONE, PLAIN), counts=Counts())}
        self.assertEqual(plan({TCP: wanted()}, actual).steps, (EditServer(TCP, ONE, QUIET),))

    def test_quiet_again(self):
        """Who drains and was given weight by somebody else is quiesced again, not removed."""
        actual = {TCP: standing((ONE, HEAVY), counts=Counts())}
        made = plan({TCP: wanted()}, actual, draining=self.draining, now=140.0)
        self.assertEqual(made.steps, (EditServer(TCP, ONE, QUIET),))

    def test_at_once(self):
        """Drain 0 and dead servers wait for nothing."""
        actual = {TCP: standing((ONE, PLAIN))}
        for desired in (wanted(drain=0), wanted(dead=[ONE])):
            self.assertEqual(plan({TCP: desired}, actual).steps, (RemoveServer(TCP, ONE),))

    def test_a_service_that_leaves(self):
        """Its servers drain; it goes with the last of them."""
        actual = {TCP: standing((ONE, PLAIN))}
        first = plan({}, actual, owned={TCP: 30})
        self.assertEqual(first.steps, (EditServer(TCP, ONE, QUIET),))
        quiet = {TCP: standing((ONE, QUIET), counts=Counts())}
        second = plan({}, quiet, {TCP: 30}, first.draining)
        self.assertEqual(second.steps, (RemoveServer(TCP, ONE), RemoveService(TCP)))

    def test_coming_back(self):
        """A server that is wanted again gets its weight back."""
        actual = {TCP: standing((ONE, QUIET))}
        made = plan({TCP: wanted((ONE, PLAIN))}, actual, draining=self.draining)
        self.assertEqual(made.steps, (EditServer(TCP, ONE, PLAIN),))
        self.assertEqual(made.draining, {})


class ArrivalTests(SynchronousTestCase):
    @given(desired_states, actual_states)
    def test_plans_arrive(self, desired, actual):
        """Applied again and again, with time passing, any state comes to the desired one."""
        owned = dict.fromkeys(actual, 30)
        draining, now = {}, 0.0
        for _ in range(3):
            made = make_plan(desired, actual, owned, draining, now)
            actual = apply_steps(actual, made.steps)
            draining, now = made.draining, now + 31
        self.assertEqual(make_plan(desired, actual, owned, {}, now).steps, ())
        self.assertEqual(set(actual), set(desired))
        for key, service in desired.items():
            found = {server: value.settings for server, value in actual[key].servers.items()}
            self.assertEqual((actual[key].settings, found), (service.settings, service.servers))

    @given(desired_states, actual_states)
    def test_no_live_server_is_removed_early(self, desired, actual):
        """A server with live connections is removed only if it is dead or drains 0 seconds."""
        for step in make_plan(desired, actual, dict.fromkeys(actual, 30), {}, 0.0).steps:
            if isinstance(step, RemoveServer):
                service = desired[step.service]
                self.assertTrue(service.drain == 0 or step.server in service.dead)


class DesiredTests(SynchronousTestCase):
    def test_dead_servers(self):
        """A dead server is taken out, or given weight 0 where the check says so."""
        server = {"host": "10.0.1.1", "port": 80, "forwarder": "m"}
        for action, present in (("remove", {}), ("quiesce", {ONE: QUIET})):
            check = {"type": "tcp", "on_failure": action}
            (service,) = services = read_services(
                [{"host": "10.0.0.1", "port": 80, "servers": [server], "check": check}]
            )
            down = frozenset({(service.id, service.servers[0].id)})
            found = desired_state(services, down)[TCP]
            self.assertEqual(found.servers, present)
            self.assertEqual(found.dead, frozenset() if present else frozenset({ONE}))
