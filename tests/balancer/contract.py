"""What a kernel has to do for the kernel engine: each function is one clause.

A clause takes an engine over an empty table.  The fake kernel and the real one
have to keep all of them.
"""

from __future__ import annotations

from ood.balancer.core import ipvs
from ood.balancer.core.plan import (
    AddServer,
    AddService,
    EditServer,
    EditService,
    RemoveServer,
    RemoveService,
    make_plan,
)
from ood.balancer.core.state import (
    ServerKey,
    ServerSettings,
    VirtualKey,
    VirtualSettings,
    desired_state,
)
from ood.model.servicecheck import read_services
from ood.model.services import SCHEDULERS

CONTRACT = {}

SERVICE = VirtualKey(4, 6, bytes([127, 0, 9, 1]), 80)
RR = VirtualSettings("rr")
SERVER = ServerKey(bytes([127, 0, 9, 2]), 8080)
PLAIN = ServerSettings(0, 1)


def clause(function):
    CONTRACT[function.__name__] = function
    return function


def outcome(deferred):
    """Return what a Deferred that has fired already holds."""
    got = []
    deferred.addBoth(got.append)
    assert got, "the engine answers at once"
    if hasattr(got[0], "raiseException"):
        got[0].raiseException()
    return got[0]


def execute(engine, *steps):
    """Do the steps; return the reasons of those that failed."""
    return [failure.reason for failure in outcome(engine.execute(steps))]


def read(engine):
    return outcome(engine.read())


@clause
def services_and_servers_come_back_as_sent(engine):
    """Every kind of service and server is read as it was written."""
    services = read_services(
        [
            service(scheduler=name, port=1000 + index, flags=flags)
            for index, (name, flags) in enumerate(
                [
                    *((name, []) for name in SCHEDULERS if name not in {"sh", "mh"}),
                    ("sh", ["sh-port", "sh-fallback"]),
                    ("mh", ["mh-port"]),
                ]
            )
        ]
        + [
            service(type="udp", persistence=300, netmask="255.255.240.0", flags=["one-packet"]),
            service(host="fd00::1", netmask="64", persistence=60, servers=[server("fd00::2")]),
            service(servers=[server("127.0.9.3", weight=0, upper_threshold=9, lower_threshold=4)]),
            service(servers=[server("127.0.9.4", forwarder="g", port=81)], port=81),
            service(servers=[server("127.0.9.4", forwarder="i", port=82)], port=82),
            {"type": "fwmark", "mark": 4294967295, "servers": [server("127.0.9.5")]},
            {"type": "fwmark", "mark": 1, "host": "::", "servers": [server("fd00::5")]},
        ]
    )
    desired = desired_state(services)
    plan = make_plan(desired, {}, {}, {}, 0.0)
    assert execute(engine, *plan.steps) == []
    assert make_plan(desired, read(engine), {}, {}, 0.0).steps == ()
    assert len(read(engine)) == len(services)


def service(**fields):
    return {"host": "127.0.9.1", "port": 80, "servers": [], **fields}


def server(host, **fields):
    return {"host": host, "port": 8080, "forwarder": "m", **fields}


@clause
def servers_are_listed_newest_first(engine):
    """The order that the schedulers go by."""
    keys = [ServerKey(bytes([127, 0, 9, last]), 80) for last in (2, 3, 4)]
    execute(engine, AddService(SERVICE, RR), *(AddServer(SERVICE, key, PLAIN) for key in keys))
    assert list(read(engine)[SERVICE].servers) == keys[::-1]


@clause
def doubles_are_refused(engine):
    """A service or server that exists can't be added."""
    execute(engine, AddService(SERVICE, RR), AddServer(SERVICE, SERVER, PLAIN))
    again = (AddService(SERVICE, RR), AddServer(SERVICE, SERVER, PLAIN))
    assert execute(engine, *again) == ["it exists already"] * 2


@clause
def missing_ones_are_refused(engine):
    """What does not exist can't be edited; removing it is no failure."""
    no_service = "there is no such service"
    no_server = "there is no such server, or the kernel lacks the scheduler"
    assert execute(engine, EditService(SERVICE, RR)) == [no_service]
    assert execute(engine, AddServer(SERVICE, SERVER, PLAIN)) == [no_service]
    assert execute(engine, RemoveService(SERVICE)) == []
    assert execute(engine, RemoveServer(SERVICE, SERVER)) == []
    assert execute(engine, AddService(SERVICE, RR._replace(scheduler="best"))) == [no_server]
    execute(engine, AddService(SERVICE, RR))
    assert execute(engine, EditServer(SERVICE, SERVER, PLAIN)) == [no_server]
    assert execute(engine, RemoveServer(SERVICE, SERVER)) == []


@clause
def ranges_are_checked(engine):
    """A lower threshold above the upper one, and a negative weight, are refused."""
    execute(engine, AddService(SERVICE, RR))
    for wrong in (PLAIN._replace(lower=2), PLAIN._replace(weight=2**31)):
        reasons = execute(engine, AddServer(SERVICE, SERVER, wrong))
        assert reasons == ["a number is out of range"], reasons


@clause
def a_failure_stops_nothing(engine):
    """The steps around one that fails are done."""
    steps = (AddService(SERVICE, RR), AddService(SERVICE, RR), AddServer(SERVICE, SERVER, PLAIN))
    assert execute(engine, *steps) == ["it exists already"]
    assert list(read(engine)[SERVICE].servers) == [SERVER]


@clause
def edits_keep_what_stands(engine):
    """Editing a service leaves its servers; editing a server leaves its service."""
    execute(engine, AddService(SERVICE, RR), AddServer(SERVICE, SERVER, PLAIN))
    settings = VirtualSettings("wlc", 1, 60, 0xFFFFFF00)
    weight = ServerSettings(0, 5, 9, 3)
    steps = (EditService(SERVICE, settings), EditServer(SERVICE, SERVER, weight))
    assert execute(engine, *steps) == []
    actual = read(engine)[SERVICE]
    assert actual.settings == settings
    assert actual.servers[SERVER].settings == weight


@clause
def many_are_read_in_pieces(engine):
    """A table that needs several datagrams is read in full, in order."""
    keys = [ServerKey(bytes([10, 0, n >> 8, n & 255]), 80) for n in range(700)]
    steps = [AddService(SERVICE, RR), *(AddServer(SERVICE, key, PLAIN) for key in keys)]
    assert execute(engine, *steps) == []
    assert list(read(engine)[SERVICE].servers) == keys[::-1]


@clause
def timeouts_are_set(engine):
    """A time-out of 0 leaves the present one."""
    before = engine.timeouts()
    engine.set_timeouts(ipvs.Timeouts(udp=77))
    assert engine.timeouts() == before._replace(udp=77)
    engine.set_timeouts(before)


@clause
def info_zero_and_flush(engine):
    """The version is told; statistics can be zeroed; everything can be removed."""
    assert engine.info().version >= (1, 2, 1)
    execute(engine, AddService(SERVICE, RR))
    engine.zero()
    engine.zero(SERVICE)
    engine.flush()
    assert read(engine) == {}
    try:
        engine.zero(SERVICE)
    except OSError as error:
        assert str(error).endswith("there is no such service"), error
    else:
        raise AssertionError("zeroing what does not exist worked")
