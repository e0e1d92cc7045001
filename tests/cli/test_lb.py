"""``ood lb``: every verb and flag, against the real routes over services in memory."""

from __future__ import annotations

import json
from pathlib import Path

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, succeed

from ood.api.guard import Mount
from ood.api.site import Api
from ood.balancer.routes import layer4_resource
from tests.balancer.test_routes import Memory
from tests.cli.support import TOKEN, CliCase

ID = "tcp-10_0_0_1-80"
WHERE = ("-O", "10.0.0.1", "-R", "80")
SERVER = ("-o", "10.0.1.1", "-p", "80")


class LbCase(CliCase):
    """An API whose L4 routes stand over services in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.layer4 = Memory()
        mount = Mount(layer4_resource(self.layer4, TOKEN), checks_token=True)
        self.api = Api(self.controller, TOKEN, {"services": mount})
        self.stub = StubTreq(self.api.root)

    def lb(self, *arguments: str, status: int = 0, terminal: bool = False):
        result = self.ood("lb", *arguments, terminal=terminal)
        self.assertEqual(result.status, status, result.err)
        return result

    def kept(self):
        return [service.document() for service in self.layer4.kept]


class VerbTests(LbCase):
    """Each verb does what its name says."""

    def test_service(self) -> None:
        """Added with every flag, changed in one field, shown, removed."""
        flags = ("-T", "tcp", "-s", "rr", "-e", "60", "-n", "255.255.255.0")
        self.assertIn(f"{ID} is there", self.lb("add-service", *WHERE, *flags).out)
        (service,) = self.kept()
        self.assertEqual(
            [service[key] for key in ("host", "port", "type", "scheduler", "persistence")],
            ["10.0.0.1", 80, "tcp", "rr", 60],
        )
        self.assertEqual(service["netmask"], "255.255.255.0")
        self.lb("set-service", ID, "-s", "sh")
        (changed,) = self.kept()
        self.assertEqual(changed, {**service, "scheduler": "sh"})
        self.assertEqual(self.lb("show-service", *WHERE, "--json").value["scheduler"], "sh")
        self.lb("set-service", *WHERE, "-j", json.dumps({"host": "10.0.0.1", "port": 80}))
        self.assertEqual(self.kept()[0]["scheduler"], "wlc")
        self.lb("remove-service", *WHERE, "-T", "tcp")
        self.assertEqual(self.kept(), [])

    def test_server(self) -> None:
        """Added with every flag, shown by address or id, removed."""
        self.lb("add-service", *WHERE)
        self.lb("add-server", *WHERE, *SERVER, *["-f", "m", "-w", "3", "-u", "10", "-l", "5"])
        self.assertEqual(
            self.kept()[0]["servers"],
            [
                {
                    "id": "10_0_1_1-80",
                    "host": "10.0.1.1",
                    "port": 80,
                    "forwarder": "m",
                    "weight": 3,
                    "upper_threshold": 10,
                    "lower_threshold": 5,
                }
            ],
        )
        for name in ((ID, "10_0_1_1-80"), (*WHERE, *SERVER), (*WHERE, "10_0_1_1-80")):
            shown = self.lb("show-server", *name, "--json").value
            self.assertEqual(shown["statistics"], {"active": 3})
        self.lb("add-server", ID, "--app", "shop.example", "-w", "0")
        listed = self.lb("show-servers", ID, "--json").value
        self.assertEqual([one["id"] for one in listed], ["10_0_1_1-80", "app-shop.example"])
        self.lb("remove-server", ID, "--app", "shop.example")
        self.lb("remove-server", *WHERE, *SERVER)
        self.assertEqual(self.kept()[0]["servers"], [])

    def test_ipv6(self) -> None:
        """However an address is written, the id is that of its shortest form."""
        self.lb("add-service", "-O", "fd00:0:0::1", "-R", "53", "-T", "udp")
        answer = self.lb("show-service", "-O", "fd00:0::1", "-R", "53", "-T", "udp", "--json").value
        self.assertEqual(answer["id"], "udp-fd00__1-53")

    def test_lists(self) -> None:
        """All services, all servers of one: from an argument or a file, all or nothing."""
        file = Path(self.mktemp())
        file.write_text(json.dumps([{"host": "10.0.0.1", "port": 80}]))
        self.lb("set-services", "-j", f"@{file}")
        servers = [{"host": f"10.0.1.{n}", "port": 80} for n in (1, 2)]
        self.lb("set-servers", ID, "-j", json.dumps(servers))
        self.assertEqual(len(self.kept()[0]["servers"]), 2)
        result = self.lb("set-services", "-j", '[{"host": "x"}]', status=1)
        self.assertIn("[0].port: 0 is not valid", result.err)
        self.assertEqual(len(self.kept()), 1)
        self.assertIn("none now", self.lb("set-services", "-j", "[]").out)


class ShowTests(LbCase):
    """Tables for people, the API's answer for programs."""

    def fill(self) -> None:
        server = {"host": "10.0.1.1", "port": 80, "forwarder": "m"}
        service = {"host": "10.0.0.1", "port": 80, "persistence": 60, "servers": [server]}
        self.lb("set-services", "-j", json.dumps([service]))

    def test_table(self) -> None:
        """A row for the service and one for each server, with their counters."""
        self.assertIn("no services yet", self.lb("show-services").out)
        self.fill()
        header, service, server = self.lb("show-services").out.splitlines()
        self.assertEqual(header.split()[:3], ["service", "scheduler", "server"])
        self.assertIn("wlc 60s", service)
        self.assertEqual(service.split()[8], "7")  # connections
        self.assertEqual(server.split()[2:6], ["10_0_1_1-80", "m", "1", "3"])
        self.assertIn("10_0_1_1-80", self.lb("show-services", terminal=True).out)

    def test_down(self) -> None:
        """A server that fails its check is named with the reason."""
        self.fill()
        numbers = {"10_0_1_1-80": {"applied": False, "up": False, "check": "refused"}}
        answer = {ID: {"applied": True, "servers": numbers}}
        self.patch(self.layer4, "statistics", lambda: succeed(answer))
        lines = self.lb("show-services").out.splitlines()
        self.assertTrue(lines[2].endswith("down"), lines[2])
        self.assertEqual(lines[3], f"10_0_1_1-80 of {ID} is down: refused")

    def test_watch(self) -> None:
        """It looks again after each interval, and ends after as many looks as it was told."""
        self.fill()
        result = self.lb("watch", "--interval", "3", "--count", "3", "--json")
        self.assertEqual(len(result.out.splitlines()), 3)
        self.assertEqual(self.clock.seconds(), 6)

    def meanwhile(self, done: Deferred[None]) -> None:
        for _ in range(100):
            if not done.called:
                self.clock.advance(1)
                self.stub.flush()


class FailureTests(LbCase):
    """Refusals of the API exit with 1, mistakes on the command line with 2."""

    def test_refused(self) -> None:
        """In the API's own words."""
        self.assertEqual(self.lb("show-service", ID, status=1).err, "ood: No Service Found\n")
        self.lb("add-service", *WHERE)
        self.assertIn("exists", self.lb("add-service", *WHERE, "-s", "rr", status=1).err)
        failed = self.lb("add-server", ID, *SERVER, "-f", "x", "--json", status=1).err
        self.assertEqual(json.loads(failed)["error"]["message"], "Invalid Server Forwarder")

    def test_wrong_token(self) -> None:
        """The routes answer it without a body; the command still says what it means."""
        self.token = "another"
        self.assertIn("is not the one of", self.lb("show-services", status=1).err)

    def test_usage(self) -> None:
        """What is missing or contradicts itself is said before anything is asked."""
        for line in (
            "show-service",
            "show-service -O 10.0.0.1",
            f"show-service {ID} -O 10.0.0.1",
            "add-service -O 10.0.0.1",
            f"add-service {ID}",
            f"set-service {ID}",
            f"add-server {ID}",
            f"add-server {ID} -o 10.0.1.1",
            f"remove-server {ID}",
            "set-services",
            "set-services -j {",
            "set-services -j @/nothing",
            f"add-server {ID} -j []",
            "watch --interval 0",
            "show-servicee",
        ):
            self.lb(*line.split(), status=2)
