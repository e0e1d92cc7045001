"""What users rely on, whatever the engine: each function is one scenario.

A scenario takes a :class:`~tests.integration.balancer.bench.Bench` and asserts.
"""

from __future__ import annotations

import subprocess

from twisted.internet.task import Clock

from ood.balancer.engines import choose_engine
from tests.integration.balancer.bench import Bench

SCENARIOS = {}
KERNEL_ONLY = {}

GOLDEN_RATIO = 0x61C88647


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def kernel_scenario(function):
    KERNEL_ONLY[function.__name__] = function
    return function


def same(found, expected):
    assert found == expected, f"{found} is not {expected}"


@scenario
def rr_takes_turns(bench: Bench):
    """rr: 30 connections are 10/10/10, newest server first."""
    service = bench.configure(bench.service(bench.add_servers(), scheduler="rr"))
    same(bench.reach(service, 6), [3, 2, 1, 3, 2, 1])
    same(bench.shares(service, 24), [8, 8, 8])


@scenario
def rr_takes_turns_over_udp(bench: Bench):
    """UDP: 30 flows are 10/10/10, and a flow stays with its server."""
    service = bench.configure(bench.service(bench.add_servers(), scheduler="rr", type="udp"))
    same(bench.shares(service, 30), [10, 10, 10])
    for client in bench.clients[:3]:
        same({client.say(b"again") for _ in range(3)}, {client.server})


@scenario
def wrr_takes_turns_by_weight(bench: Bench):
    """wrr: weights 1:2:3 share 60 connections 10/20/30."""
    service = bench.configure(bench.service(bench.add_servers((1, 2, 3)), scheduler="wrr"))
    same(bench.shares(service, 60), [10, 20, 30])


@scenario
def least_connections_fill_up(bench: Bench):
    """lc levels open connections; wlc levels them by weight."""
    service = bench.configure(bench.service(bench.add_servers((1, 2, 3)), scheduler="lc"))
    same(bench.shares(service, 9), [3, 3, 3])
    bench.drop()
    service = bench.configure(bench.service(bench.add_servers((1, 2, 3)), scheduler="wlc"))
    same(bench.shares(service, 12), [2, 4, 6])


@scenario
def delays_are_kept_short(bench: Bench):
    """sed prefers fast servers even when slow ones idle; nq never does."""
    service = bench.configure(bench.service(bench.add_servers((1, 4)), scheduler="sed"))
    same(bench.reach(service, 3), [2, 2, 2])
    bench.drop()
    service = bench.configure(bench.service(bench.add_servers((1, 4)), scheduler="nq"))
    same(bench.reach(service, 2), [2, 1])


@scenario
def heaviest_first(bench: Bench):
    """fo: one takes all; ovf: more than its weight goes to the next."""
    service = bench.configure(bench.service(bench.add_servers((1, 3, 2)), scheduler="fo"))
    same(bench.shares(service, 6), [0, 6, 0])
    bench.drop()
    service = bench.configure(bench.service(bench.add_servers((1, 3, 2)), scheduler="ovf"))
    same(bench.shares(service, 6), [0, 4, 2])


@scenario
def sh_is_predictable(bench: Bench):
    """sh: the client's address alone decides, as the kernel's formula says."""
    service = bench.configure(bench.service(bench.add_servers(), scheduler="sh"))
    for last in range(1, 21):
        source = f"127.0.3.{last}"
        number = int.from_bytes(bytes([127, 0, 3, last]), "big")
        bucket = (number * GOLDEN_RATIO % 2**32) >> 24
        expected = [3, 2, 1][bucket % 3]
        same([bench.index(service, bench.connect(service, source).server)], [expected])


@scenario
def persistence_goes_by_netmask(bench: Bench):
    """A network of clients stays with one server, whatever the scheduler would say."""
    document = bench.service(
        bench.add_servers(), scheduler="rr", persistence=300, netmask="255.255.255.0"
    )
    service = bench.configure(document)
    same(len(set(bench.reach(service, 4, [f"127.0.4.{n}" for n in range(1, 5)]))), 1)
    networks = [f"127.0.{n}.1" for n in (5, 6, 7)]
    same(bench.shares(service, 3, networks), [1, 1, 1])


@scenario
def thresholds_set_and_clear(bench: Bench):
    """Upper 6: the seventh is refused; cleared below three quarters: at 4, not at 5."""
    bench.do("timeouts", seconds=2)
    servers = bench.add_servers((1,), upper_threshold=6)
    service = bench.configure(bench.service(servers, type="udp", scheduler="rr"))
    same(bench.reach(service, 6), [1] * 6)
    same(bench.connect(service, refused=True).server, None)
    threshold_clears(bench, service, kept=5, expected=None)
    threshold_clears(bench, service, kept=4, expected=1)
    bench.do("timeouts", seconds=300)


@scenario
def lower_threshold_clears(bench: Bench):
    """Upper 6, lower 3: cleared at 2, not at 3."""
    bench.do("timeouts", seconds=2)
    servers = bench.add_servers((1,), upper_threshold=6, lower_threshold=3)
    service = bench.configure(bench.service(servers, type="udp", scheduler="rr"))
    same(bench.reach(service, 6), [1] * 6)
    same(bench.connect(service, refused=True).server, None)
    threshold_clears(bench, service, kept=3, expected=None)
    threshold_clears(bench, service, kept=2, expected=1)
    bench.do("timeouts", seconds=300)


def threshold_clears(bench, service, kept, expected):
    """Keep some flows alive until the others are over, then try a new one."""

    def others_are_over():
        for client in bench.clients[:kept]:
            same(client.say(b"alive"), client.server)
        (numbers,) = bench.do("statistics").values()
        (server,) = numbers["servers"].values()
        return server["active"] + server["inactive"] == kept

    bench.eventually(others_are_over)
    client = bench.connect(service, refused=expected is None)
    same(bench.index(service, client.server), expected)


@scenario
def quiesced_servers_keep_connections(bench: Bench):
    """Weight 0: what is open goes on, what is new goes elsewhere."""
    servers = bench.add_servers((1, 1))
    service = bench.configure(bench.service(servers, scheduler="rr"))
    same(sorted(bench.reach(service, 2)), [1, 2])
    servers[1]["weight"] = 0
    bench.configure(service)
    same(bench.shares(service, 4), [4, 0])
    for client in bench.clients:
        same(client.echo(b"still here"), b"still here")


@scenario
def no_server_refuses(bench: Bench):
    """Without a usable server clients are refused at once, not left waiting."""
    service = bench.configure(bench.service(bench.add_servers((0,)), scheduler="wlc"))
    same(bench.connect(service).server, None)
    service = bench.configure(bench.service([], scheduler="wlc"))
    same(bench.connect(service).server, None)


@scenario
def ipv6_works(bench: Bench):
    """TCP and UDP over IPv6."""
    servers = bench.add_servers(six=True)
    tcp = bench.service(servers, six=True, scheduler="rr")
    udp = bench.service(servers, six=True, scheduler="rr", type="udp")
    bench.configure(tcp, udp)
    same(bench.shares(tcp, 9), [3, 3, 3])
    same(bench.shares(udp, 9), [3, 3, 3])


@scenario
def edits_drop_nothing(bench: Bench):
    """Scheduler, weights and further servers change under live connections."""
    servers = bench.add_servers((1, 1))
    service = bench.configure(bench.service(servers, scheduler="rr"))
    bench.reach(service, 4)
    servers[0]["weight"] = 5
    bench.configure({**service, "scheduler": "wlc", "persistence": 60})
    bench.configure({**service, "scheduler": "wrr", "servers": servers + bench.add_servers((1,))})
    for client in bench.clients:
        same(client.echo(b"x" * 100_000), b"x" * 100_000)


@scenario
def leaving_servers_drain(bench: Bench):
    """A server that leaves keeps its connection, takes no new one, and then goes."""
    servers = bench.add_servers((1, 1))
    service = bench.configure(bench.service(servers, scheduler="rr", drain=60))
    bench.reach(service, 2)
    staying, leaving = sorted(bench.clients, key=lambda c: bench.index(service, c.server))
    bench.configure({**service, "servers": servers[:1]})
    same(bench.shares(service, 4), [4, 0])
    bench.wait(1.5)
    same(leaving.echo(b"still here"), b"still here")
    same(staying.echo(b"still here"), b"still here")


@scenario
def statistics_count(bench: Bench):
    """Connections and bytes of a service and its servers are counted."""
    service = bench.configure(bench.service(bench.add_servers((1, 1)), scheduler="rr"))
    bench.reach(service, 4)
    for client in bench.clients:
        client.echo(b"x" * 1000)
    name = f"tcp-127_0_1_1-{service['port']}"

    def counted():
        numbers = bench.do("statistics")[name]
        return numbers if numbers["connections"] and numbers["bytes_in"] >= 4000 else None

    numbers = bench.eventually(counted)
    same(numbers["connections"], 4)
    servers = numbers["servers"].values()
    same([server["connections"] for server in servers], [2, 2])
    same([server["active"] for server in servers], [2, 2])


def ipvsadm(*arguments):
    """Run ipvsadm, which knows nothing of us; return its output's lines of words."""
    done = subprocess.run(["ipvsadm", *arguments], capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


@kernel_scenario
def ipvsadm_sees_it(bench: Bench):
    """What ipvsadm lists is what was configured: services, servers, thresholds, flags."""
    servers = bench.add_servers((1, 7), upper_threshold=9, lower_threshold=4)
    tcp = bench.service(
        servers, scheduler="sh", flags=["sh-port"], persistence=90, netmask="255.255.0.0"
    )
    six = bench.service(bench.add_servers((2,), six=True), six=True, scheduler="lblcr", type="udp")
    tunnel = {"host": "192.0.2.9", "port": 0, "forwarder": "i"}
    mark = {"type": "fwmark", "mark": 9, "scheduler": "ovf", "servers": [tunnel]}
    bench.configure(tcp, six, mark)
    rows = ipvsadm("-Ln")
    persistent = ["(sh-port)", "persistent", "90", "mask", "255.255.0.0"]
    assert ["TCP", f"127.0.1.1:{tcp['port']}", "sh", *persistent] in rows, rows
    first, second = (f"{server['host']}:{server['port']}" for server in servers)
    assert ["->", first, "Masq", "1", "0", "0"] in rows, rows
    assert ["->", second, "Masq", "7", "0", "0"] in rows, rows
    assert ["UDP", f"[::1]:{six['port']}", "lblcr"] in rows, rows
    assert ["FWM", "9", "ovf"] in rows, rows
    assert any(row[:1] == ["->"] and row[2] == "Tunnel" for row in rows), rows
    assert ["->", first, "9", "4", "0", "0"] in ipvsadm("-Ln", "--thresholds")


@kernel_scenario
def others_are_left_alone(bench: Bench):
    """A service that somebody else configured is there before, during and after."""
    foreign = ["-t", "127.0.9.9:99", "-s", "rr"]
    ipvsadm("-A", *foreign)
    ipvsadm("-a", "-t", "127.0.9.9:99", "-r", "127.0.9.8:98", "-m")
    bench.configure(bench.service(bench.add_servers(), scheduler="rr"))
    bench.configure()
    same(
        ipvsadm("-Sn"),
        [
            ["-A", "-t", "127.0.9.9:99", "-s", "rr"],
            ["-a", "-t", "127.0.9.9:99", "-r", "127.0.9.8:98", "-m", "-w", "1"],
        ],
    )
    ipvsadm("-D", "-t", "127.0.9.9:99")


@kernel_scenario
def drift_is_put_right(bench: Bench):
    """What somebody else changes of ours is undone, and counted."""
    service = bench.configure(bench.service(bench.add_servers((1, 1)), scheduler="rr"))
    place = f"127.0.1.1:{service['port']}"
    ipvsadm("-E", "-t", place, "-s", "wlc")
    ipvsadm("-a", "-t", place, "-r", "127.0.9.8:98", "-m")
    server = service["servers"][0]
    ipvsadm("-d", "-t", place, "-r", f"{server['host']}:{server['port']}")
    bench.eventually(lambda: bench.do("drift") >= 3)
    same(bench.shares(service, 4), [2, 2])


@kernel_scenario
def a_restart_leaves_connections(bench: Bench):
    """ood ends and starts again: connections go on, and what leaves then is known as ours."""
    service = bench.configure(bench.service(bench.add_servers(), scheduler="rr"))
    bench.reach(service, 3)
    bench.do("restart")
    for client in bench.clients:
        same(client.echo(b"still here"), b"still here")
    bench.configure()
    same(ipvsadm("-Sn"), [])


@kernel_scenario
def templates_ignore_weight_zero(bench: Bench):
    """A persistent client stays even with a quiesced server, until it is removed."""
    servers = bench.add_servers((1, 1))
    service = bench.configure(bench.service(servers, scheduler="rr", persistence=300))
    (first,) = bench.reach(service, 1)
    servers[first - 1]["weight"] = 0
    bench.configure(service)
    same(bench.reach(service, 3), [first] * 3)


@kernel_scenario
def auto_takes_the_kernel(bench: Bench):
    """Where IPVS can be configured, it is what auto means."""
    engine, _ = choose_engine("auto", None, Clock())
    same(engine.name, "ipvs")
    engine.close()
