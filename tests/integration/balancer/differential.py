"""Choice by choice: an engine against the pure schedulers.

Connections are opened and closed, weights are edited, servers join and leave,
at random; before each connection the pure pool says where it has to go.
"""

from __future__ import annotations

import random
import socket

from ood.balancer.core.pool import Pool
from ood.balancer.core.state import server_key, server_settings, virtual_settings
from ood.balancer.core.targets import Flow
from ood.model.servicecheck import read_service
from tests.integration.balancer.bench import Bench, families

OPERATIONS = 60
MOST_SERVERS = 6

CASES = {
    **{name: {"scheduler": name} for name in ("rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf")},
    **{name: {"scheduler": name} for name in ("lblc", "lblcr", "dh", "sh", "mh")},
    "sh_port": {"scheduler": "sh", "flags": ["sh-port"]},
    "sh_fallback": {"scheduler": "sh", "flags": ["sh-fallback", "sh-port"]},
    "mh_port": {"scheduler": "mh", "flags": ["mh-port"]},
    "mh_fallback": {"scheduler": "mh", "flags": ["mh-fallback", "mh-port"]},
    "persistent": {"scheduler": "wlc", "persistence": 300, "netmask": "255.255.255.252"},
    "wlc_udp": {"scheduler": "wlc", "type": "udp"},
    "wrr_udp": {"scheduler": "wrr", "type": "udp"},
    "sed_six": {"scheduler": "sed", "six": True},
    "mh_six": {"scheduler": "mh", "flags": ["mh-port"], "six": True},
    "sh_six": {"scheduler": "sh", "flags": ["sh-port"], "six": True},
}


class Match:
    """One service in the engine and its twin in the pure core."""

    def __init__(self, bench: Bench, seed: int, *, six: bool = False, **fields):
        self.bench = bench
        self.random = random.Random(seed)
        self.six = six
        self.port = self.random.randrange(10000, 20000)
        self.pool_of = bench.add_servers([1] * MOST_SERVERS, six=six)
        for server in self.pool_of:
            server["weight"] = self.random.choice((1, 1, 2, 3, 6))
            # over IPv6 the kernel's clients take a second to learn of a refusal
            server["upper_threshold"] = 0 if six else self.random.choice((0, 0, 0, 4, 9))
        self.document = bench.service(self.pool_of[:3], six=six, **fields)
        service = read_service(self.document)
        self.pool = Pool(virtual_settings(service))
        for server in service.servers:
            self.pool.add(server_key(server), server_settings(server))
        bench.configure(self.document)
        self.open = []
        self.log = []

    def play(self):
        for _ in range(OPERATIONS):
            choice = self.random.random()
            if choice < 0.72:
                self.connect()
            elif choice < 0.84:
                self.close_one()
            elif choice < 0.94:
                self.edit()
            else:
                self.join_or_leave()

    def connect(self):
        source, port = self.source()
        family = socket.AF_INET6 if self.six else socket.AF_INET
        packed = socket.inet_pton(family, source)
        vip = socket.inet_pton(family, self.document["host"])
        expected = self.pool.open(Flow(packed, port, vip, 0.0))
        client = self.bench.connect(self.document, source, port, refused=expected is None)
        found = client.server
        wanted = expected and (
            f"{socket.inet_ntop(family, expected.target.address)}|{expected.target.port}"
        )
        self.log.append((source, port, found))
        assert found == wanted, (
            f"{found} ({client.error}), but the core says {wanted}\n"
            f"{self.document}\n{self.pool.targets}\n{self.log}"
        )
        if expected is not None:
            if self.document["type"] == "tcp":
                expected.established()
            self.open.append((client, expected))

    def source(self):
        """Return an address and a port to come from: one that is the next free one."""
        host = "::1"
        if not self.six:
            host = f"127.0.{self.random.randrange(3, 6)}.{self.random.randrange(1, 9)}"
        self.port += 1
        while not can_come_from(host, self.port):
            self.port += 1
        return host, self.port

    def close_one(self):
        """Close a connection; the kernel counts it as inactive for two minutes."""
        standing = [pair for pair in self.open if pair[1].target.available]
        if not standing or self.document["type"] == "udp":
            return
        client, hold = pair = self.random.choice(standing)
        self.open.remove(pair)
        client.close()
        if self.bench.kind == "ipvs":
            hold.target.active -= 1
            hold.target.inactive += 1
        else:
            hold.release()
        expected = sum(target.active for target in self.pool.targets)
        self.bench.eventually(lambda: self.active() == expected)

    def active(self):
        (numbers,) = self.bench.do("statistics").values()
        return sum(server["active"] for server in numbers["servers"].values())

    def edit(self):
        server = self.random.choice(self.document["servers"])
        weights = {int(self.six), 1, 2, 4, 5} - {server["weight"]}  # an equal one is no step
        server["weight"] = self.random.choice(sorted(weights))
        self.apply(lambda: self.pool.edit_server(*self.of(server)))

    def join_or_leave(self):
        servers = self.document["servers"]
        waiting = [server for server in self.pool_of if server not in servers]
        if waiting and self.random.random() < 0.6:
            server = waiting[0]
            servers.append(server)
            self.apply(lambda: self.pool.add(*self.of(server)))
        elif len(servers) > 2:
            server = servers.pop(self.random.randrange(len(servers)))
            self.pool_of.remove(server)
            self.apply(lambda: self.pool.remove(self.of(server)[0]))

    def of(self, server):
        (value,) = read_service({**self.document, "servers": [server]}).servers
        return server_key(value), server_settings(value)

    def apply(self, twin):
        self.log.append([(s["port"], s["weight"]) for s in self.document["servers"]])
        self.bench.configure(self.document)
        twin()


def can_come_from(host: str, port: int) -> bool:
    """Tell whether nobody else uses an address and a port: others test on this machine, too."""
    with socket.socket(families(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def compare(bench: Bench, case: str, seed: int = 1) -> None:
    """Play one case of :data:`CASES`."""
    Match(bench, seed, **CASES[case]).play()
