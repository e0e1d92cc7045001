"""Services and servers from JSON: defaults, spellings, ids, faults."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.errors import InvalidError
from ood.model.servicecheck import read_server, read_service, read_services
from ood.model.services import (
    Check,
    Server,
    Service,
    host_id,
    host_of_id,
    is_service_id,
)

SEED_SERVICE = {
    "host": "127.0.0.1",
    "port": 8080,
    "type": "tcp",
    "scheduler": "wlc",
    "persistence": 300,
    "netmask": "",
    "servers": [
        {
            "host": "172.28.128.4",
            "port": 8081,
            "forwarder": "m",
            "weight": 1,
            "UpperThreshold": 5,
            "LowerThreshold": 2,
        }
    ],
}


def service(**fields):
    return {"host": "127.0.0.1", "port": 80, **fields}


def server(**fields):
    return {"host": "10.0.0.1", "port": 80, **fields}


class ReadingTests(SynchronousTestCase):
    def test_the_seeds_spelling(self):
        """Thresholds are taken in both spellings and answered in one."""
        read = read_service(SEED_SERVICE)
        self.assertEqual(read.servers[0].upper_threshold, 5)
        (answered,) = read.document()["servers"]
        self.assertEqual(
            answered,
            {
                "id": "172_28_128_4-8081",
                "host": "172.28.128.4",
                "port": 8081,
                "forwarder": "m",
                "weight": 1,
                "upper_threshold": 5,
                "lower_threshold": 2,
            },
        )

    def test_defaults(self):
        """What is left out or empty is tcp, wlc, g and weight 1."""
        for empty in ({}, {"type": "", "scheduler": "", "netmask": ""}):
            read = read_service(service(servers=[server(forwarder="")], **empty))
            self.assertEqual((read.type, read.scheduler, read.persistence), ("tcp", "wlc", 0))
            self.assertEqual((read.servers[0].forwarder, read.servers[0].weight), ("g", 1))

    def test_what_is_answered_can_be_sent(self):
        """A document that the API answers is read back as the same service."""
        check = {"type": "http", "path": "/up", "on_failure": "quiesce"}
        full = service(
            scheduler="sh", flags=["sh-port"], drain=5, check=check, servers=[server(weight=0)]
        )
        read = read_service(full)
        self.assertEqual(read_service(read.document()), read)
        self.assertEqual(read.check, Check(type="http", path="/up", on_failure="quiesce"))

    def test_extras_are_not_shown_unset(self):
        """Older clients see the fields that they know."""
        known = {"id", "host", "port", "type", "scheduler", "persistence", "netmask", "servers"}
        self.assertEqual(set(read_service(service()).document()), known)

    def test_hosts_take_their_shortest_form(self):
        """Two spellings of one IPv6 address are one service."""
        long = read_service(service(host="fd00:0:0:0:0:0:0:1"))
        self.assertEqual(long.host, "fd00::1")


class FaultTests(SynchronousTestCase):
    def faults(self, raw, reader=read_service, *arguments):
        with self.assertRaises(InvalidError) as caught:
            reader(raw, *arguments)
        return {fault.key: fault.problem for fault in caught.exception.faults}

    def test_every_fault_is_named_at_once(self):
        """Nobody has to try again for each of them."""
        raw = {
            "host": "nowhere",
            "port": 70000,
            "type": "sctp",
            "scheduler": "best",
            "persistence": -1,
            "colour": "blue",
            "servers": [
                {"host": "10.0.0.1", "port": True, "forwarder": "x", "lower_threshold": 4},
                "10.0.0.2",
            ],
        }
        self.assertEqual(
            self.faults(raw),
            {
                "type": "Unsupported Protocol - 'sctp'",
                "host": "'nowhere' is not an address",
                "port": "70000 is not valid",
                "scheduler": "Invalid Service Scheduler",
                "persistence": "-1 is not valid",
                "servers[0].port": "True is not valid",
                "servers[0].forwarder": "Invalid Server Forwarder",
                "servers[0].lower_threshold": "4 is above the upper one",
                "servers[1]": "is not a JSON object",
                "servers[1].host": "'' is not an address",
                "servers[1].port": "0 is not valid",
                "colour": "is not a known field",
            },
        )

    def test_the_port_of_g_and_i(self):
        """Packets that are not rewritten keep the service's port."""
        for forwarder in ("g", "i", ""):
            raw = service(servers=[server(forwarder=forwarder, port=81)])
            self.assertEqual(
                self.faults(raw), {"servers[0].port": "Invalid Server Port for Forwarder"}
            )
        read_service(service(servers=[server(forwarder="m", port=81)]))

    def test_families_do_not_mix(self):
        """An IPv4 service can't have an IPv6 server."""
        raw = service(servers=[server(host="fd00::1")])
        self.assertEqual(list(self.faults(raw)), ["servers[0].host"])

    def test_doubles(self):
        """Two services, or two servers of one, with the same id are refused."""
        self.assertEqual(
            self.faults([service(), service()], read_services),
            {"[1]": "tcp-127_0_0_1-80 is already [0]"},
        )
        raw = service(servers=[server(), server()])
        self.assertEqual(list(self.faults(raw)), ["servers[1]"])

    def test_contradicting_spellings(self):
        """Both spellings with different values are not guessed at."""
        raw = server(upper_threshold=3, UpperThreshold=4)
        value = read_service(service())
        self.assertEqual(
            self.faults(raw, read_server, value), {"upper_threshold": "contradicts UpperThreshold"}
        )

    def test_netmasks(self):
        """A mask has to be a mask, of the service's family."""
        for good in ("255.255.255.0", "255.255.255.255", "128.0.0.0"):
            read_service(service(netmask=good))
        for bad in ("255.0.255.0", "0.0.0.0", "24", "x"):
            self.assertEqual(list(self.faults(service(netmask=bad))), ["netmask"])
        read_service(service(host="fd00::1", netmask="64"))
        for bad in ("0", "129", "255.255.255.0"):
            self.assertEqual(list(self.faults(service(host="::1", netmask=bad))), ["netmask"])

    def test_addresses_without_an_id(self):
        """IPv4 within IPv6 would make ids ambiguous; scopes mean nothing to IPVS."""
        for host in ("::ffff:10.0.0.1", "fe80::1%eth0"):
            self.assertEqual(list(self.faults(service(host=host))), ["host"])

    def test_firewall_marks(self):
        """A mark has no address and no port of its own."""
        read = read_service({"type": "fwmark", "mark": 7, "servers": [server(port=0)]})
        self.assertEqual((read.id, read.family), ("fwmark-7", 4))
        six = read_service({"type": "fwmark", "mark": 7, "host": "::"})
        self.assertEqual((six.id, six.family), ("fwmark6-7", 6))
        wrong = {"type": "fwmark", "host": "10.0.0.1", "port": 80}
        self.assertEqual(set(self.faults(wrong)), {"mark", "host", "port"})

    def test_apps(self):
        """An app of ood as a server has a name instead of an address."""
        read = read_service(service(servers=[{"app": "example.com", "weight": 3}]))
        (one,) = read.servers
        self.assertEqual((one.id, one.forwarder), ("app-example.com", "m"))
        self.assertEqual(read_service(read.document()), read)
        wrong = [{"app": "a/b"}, server(app="example.com"), {"app": "x", "forwarder": "g"}]
        self.assertEqual(
            set(self.faults(service(servers=wrong))),
            {"servers[0].app", "servers[1].host", "servers[1].port", "servers[2].forwarder"},
        )

    def test_apps_take_tcp(self):
        """An app behind a UDP service or a mark would never be reached."""
        for kind in ({"type": "udp"}, {"type": "fwmark", "mark": 1, "host": "", "port": 0}):
            raw = {**service(servers=[{"app": "a.example"}]), **kind}
            self.assertEqual(set(self.faults(raw)), {"servers[0].app"})

    def test_apps_are_looked_up(self):
        """Where an app answers is known when it runs; else it is left out."""
        apps = [{"app": "one.example"}, {"app": "two.example"}, server(forwarder="m")]
        for host in ("127.0.0.1", "::1"):
            read = read_service(service(host=host, servers=apps[:2]))
            found = read.resolved({"two.example": 3001}.get).servers
            self.assertEqual(
                [(s.id, s.host, s.port) for s in found], [("app-two.example", "127.0.0.1", 3001)]
            )
        read = read_service(service(servers=apps[2:]))
        self.assertIs(read.resolved({}.get), read)

    def test_checks(self):
        """A check's faults are named like all others."""
        raw = service(check={"type": "script", "interval": 0, "path": "up", "on_failure": "panic"})
        keys = {"check.interval", "check.script", "check.path", "check.on_failure"}
        self.assertEqual(set(self.faults(raw)), keys)


class IdTests(SynchronousTestCase):
    def test_known_ids(self):
        """The ids that clients of the seed system build themselves."""
        self.assertEqual(Service(host="127.0.0.3", port=1234).id, "tcp-127_0_0_3-1234")
        self.assertEqual(Server(host="192.168.0.1", port=8080).id, "192_168_0_1-8080")
        self.assertEqual(Service(host="fd00::1", port=80, type="udp").id, "udp-fd00__1-80")

    @given(st.ip_addresses())
    def test_hosts_come_back(self, ip):
        """No two addresses share an id, and each id gives its address back."""
        host = str(ip)
        if getattr(ip, "ipv4_mapped", None):
            return
        self.assertEqual(host_of_id(host_id(host)), host)
        self.assertTrue(is_service_id(f"tcp-{host_id(host)}-1"))

    def test_what_is_no_id(self):
        """Malformed ids are told from unknown ones."""
        for text in ("", "tcp", "tcp-1_2_3-4", "sctp-1_2_3_4-5", "tcp-1_2_3_4-x", "tcp-01_2_3_4-5"):
            self.assertFalse(is_service_id(text), text)
        self.assertTrue(is_service_id("fwmark6-12"))

    @given(st.dictionaries(st.text(), st.none() | st.text() | st.integers() | st.lists(st.text())))
    def test_any_object_is_read_or_refused(self, raw):
        """Whatever is sent, the answer is a service or a list of faults."""
        try:
            read_service({"host": "10.0.0.1", "port": 80, **raw})
        except InvalidError as error:
            self.assertTrue(error.faults)
