"""The balancer through the real service: its API, its command, its life."""

from __future__ import annotations

import json
import shutil
import socket
import socketserver
import threading
import urllib.error
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.balancer.test_choice import has_ipvs
from tests.support.ood import RunningOod, wait_until
from tests.support.ports import free_ports

ANSWER_SECONDS = 60
ROUNDS_OF_KILLING = 4
SERVICES_OF_A_PUT = 40


class Backend(socketserver.ThreadingTCPServer):
    """Says its name to everybody who connects."""

    allow_reuse_address = True
    daemon_threads = True

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(self.server.name)

    def __init__(self, name):
        self.name = name
        super().__init__(("127.0.0.1", free_ports(1)[0]), self.Handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def server(self):
        return {"host": "127.0.0.1", "port": self.server_address[1], "forwarder": "m"}

    def close(self):
        self.shutdown()
        self.server_close()


def said(port):
    """Return what who answers on ``port`` says."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as sock:
        return sock.makefile("rb").read()


class Case(SynchronousTestCase):
    """A service with the userspace engine."""

    def setUp(self):
        self.ood = RunningOod()
        self.addCleanup(self.ood.close)
        self.ood.home.mkdir()
        settings = {"schema": 1, "settings": {"balancerEngine": "userspace"}}
        (self.ood.home / "config.json").write_text(json.dumps(settings))
        self.ood.start()
        self.port = free_ports(1)[0]
        self.service_id = f"tcp-127_0_0_1-{self.port}"

    def backends(self):
        found = [Backend(name) for name in (b"one", b"two")]
        for backend in found:
            self.addCleanup(backend.close)
        return found

    def token(self):
        return (self.ood.home / "api-token").read_text().strip()

    def ask(self, method, path, body=None, **headers):
        """Return status and value of the API's answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ood.api_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers or {"X-AUTH-TOKEN": self.token()},
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:
                status, content = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, content = error.code, error.read()
        return status, json.loads(content) if content else None

    def value(self, method, path, body=None):
        status, value = self.ask(method, path, body)
        self.assertEqual(status, 200, value)
        return value

    def service(self, *servers, **fields):
        fields = {"host": "127.0.0.1", "port": self.port, "scheduler": "rr", **fields}
        return {**fields, "servers": list(servers)}


class LifeTests(Case):
    def test_routes(self):
        """Every route, in one service's life; a real client reaches the servers in turn."""
        one, two = (backend.server for backend in self.backends())
        one_id = f"127_0_0_1-{one['port']}"
        path = f"/services/{self.service_id}"
        self.assertEqual(self.value("GET", "/services"), [])
        self.assertEqual(self.value("POST", "/services", self.service())["id"], self.service_id)
        self.assertEqual(self.value("POST", f"{path}/servers", one)["id"], one_id)
        self.assertEqual(len(self.value("PUT", f"{path}/servers", [one, two])), 2)
        self.assertEqual(self.value("GET", path)["servers"], self.value("GET", f"{path}/servers"))
        self.assertEqual(sorted(said(self.port) for _ in range(6)), [b"one"] * 3 + [b"two"] * 3)
        shown = self.value("GET", f"{path}/servers/{one_id}?statistics=true")
        self.assertEqual(shown["statistics"]["connections"], 3)
        self.value("DELETE", f"{path}/servers/{one_id}")
        self.assertEqual({said(self.port) for _ in range(3)}, {b"two"})
        changed = self.service({**one, "UpperThreshold": 9}, scheduler="wlc")
        self.assertEqual(self.value("PUT", path, changed)["servers"][0]["upper_threshold"], 9)
        self.assertEqual({said(self.port) for _ in range(3)}, {b"one"})
        self.assertEqual(self.value("PUT", "/services", [changed])[0]["scheduler"], "wlc")
        self.assertEqual(self.value("DELETE", path), {"msg": "Success"})
        self.assertEqual(self.ask("GET", path), (404, {"error": "No Service Found"}))

    def test_tokens(self):
        """Every way that clients show it; without it 401 and no word; OPTIONS needs none."""
        token = self.token()
        for header in ("X-AUTH-TOKEN", "X-NANOBOX-TOKEN"):
            self.assertEqual(self.ask("GET", "/services", **{header: token}), (200, []))
            path = f"/services?{header}={token}"
            self.assertEqual(self.ask("GET", path, Accept="*/*"), (200, []))
            self.assertEqual(self.ask("GET", "/services", **{header: "wrong"}), (401, None))
        self.assertEqual(self.ask("OPTIONS", "/services", Accept="*/*"), (204, None))
        foreign = {"Host": "evil.example", "X-AUTH-TOKEN": token}
        self.assertEqual(self.ask("GET", "/services", **foreign)[0], 403)

    def test_refused_whole(self):
        """What this engine can't do, or what another listens on, changes nothing."""
        self.value("POST", "/services", self.service())
        wrong = self.service({"host": "127.0.0.1", "port": self.port, "forwarder": "g"})
        status, answer = self.ask("PUT", "/services", [wrong])
        self.assertEqual((status, "only the kernel" in answer["error"]), (400, True), answer)
        (taken,) = self.backends()[:1]
        plain = self.service(port=taken.server["port"])
        status, answer = self.ask("PUT", "/services", [self.service(scheduler="sh"), plain])
        self.assertEqual(status, 409, answer)
        own = self.service(port=self.ood.api_port)
        self.assertEqual(
            self.ask("POST", "/services", own),
            (400, {"error": f"Socket in use: '127.0.0.1:{self.ood.api_port}'"}),
        )
        self.assertEqual([one["scheduler"] for one in self.value("GET", "/services")], ["rr"])

    def test_command_and_restart(self):
        """What the command configured serves at once, and again after a restart of ood."""
        for backend in self.backends():
            where = ("-O", "127.0.0.1", "-R", str(self.port))
            if backend.name == b"one":
                self.ood.ood("lb", "add-service", *where, "-s", "rr")
            port = str(backend.server["port"])
            self.ood.ood("lb", "add-server", *where, "-o", "127.0.0.1", "-p", port, "-f", "m")
        self.assertEqual({said(self.port) for _ in range(2)}, {b"one", b"two"})
        before = self.value("GET", "/services")
        self.ood.stop()
        self.ood.start()
        self.assertEqual(self.value("GET", "/services"), before)
        self.assertEqual({said(self.port) for _ in range(2)}, {b"one", b"two"})
        (shown,) = self.ood.json("lb", "show-services")
        self.assertEqual(shown["statistics"]["connections"], 2)
        self.assertEqual(self.ood.run("lb", "show-service", "tcp-1_1_1_1-1").returncode, 1)
        self.assertEqual(self.ood.run("lb", "show-service").returncode, 2)

    def test_damaged(self):
        """Damaged services keep ood from starting; it says every fault and touches nothing."""
        self.ood.stop()
        file = self.ood.home / "config.json"
        damaged = json.dumps({"services": [{"host": "x", "port": 0}]})
        file.write_text(damaged)
        error = self.assertRaises(AssertionError, self.ood.start)
        for key in ("services[0].host", "services[0].port"):
            self.assertIn(key, str(error))

    def test_no_ipvs(self):
        """Asked for a kernel's engine that is not there, ood says so and does not start."""
        if Path("/proc/net/ip_vs").exists() or has_ipvs():
            raise SkipTest("this kernel has IPVS")
        self.ood.stop()
        settings = {"balancerEngine": "ipvs"}
        file = self.ood.home / "config.json"
        file.write_text(json.dumps({"settings": settings}))
        self.ood.start()
        status, answer = self.ask("GET", "/services")
        self.assertEqual((status, "set balancerEngine" in answer["error"]), (503, True), answer)
        self.ood.stop()
        file.write_text(json.dumps({"settings": settings, "services": [self.service()]}))
        self.assertIn("no IPVS", str(self.assertRaises(AssertionError, self.ood.start)))

    def test_limit(self):
        """The service may have as many sockets as this user may allow it."""
        limits = Path(f"/proc/{self.ood.pid}/limits").read_text()
        (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
        _, soft, hard, _ = line.removeprefix("Max open").split()
        self.assertEqual(soft, hard)


APP = """
require("http").createServer((_, res) => res.end("from the app")).listen(process.env.PORT)
"""


class AppTests(Case):
    """A server may be an app of ood."""

    def test_app(self):
        """Clients of the service reach the app while it runs, and only then."""
        if shutil.which("node") is None:
            raise SkipTest("node is not installed")
        directory = self.ood.directory / "app"
        directory.mkdir(mode=0o755)
        (directory / "app.js").write_text(APP)
        self.value("POST", "/services", self.service({"app": "shop.example"}))
        self.assertRaises(OSError, self.get)
        self.ood.add("shop.example", directory, "--script", "app.js")
        wait_until(self.carried, "the service has the app")
        self.assertEqual(self.get(), b"from the app")
        self.ood.ood("stop", "shop.example")
        wait_until(lambda: not self.carried(), "the app left the service")
        self.assertRaises(OSError, self.get)
        self.ood.ood("start", "shop.example")
        self.assertEqual(self.get(), b"from the app")

    def get(self):
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/", timeout=ANSWER_SECONDS
        ) as response:
            return response.read()

    def carried(self):
        """Tell whether new connections go to the app now."""
        path = f"/services/{self.service_id}/servers?statistics=true"
        return any(
            one["statistics"].get("applied") and one["statistics"]["weight_in_use"]
            for one in self.value("GET", path)
        )


class KillTests(Case):
    def versions(self):
        """Two states that differ in each of many services."""
        ports = free_ports(SERVICES_OF_A_PUT)
        return [
            [self.service(port=port, scheduler=scheduler) for port in ports]
            for scheduler in ("rr", "sh")
        ]

    def test_killed_in_the_middle_of_changes(self):
        """After kill -9 amid PUTs ood comes back with one of the states, in store and engine."""
        versions = self.versions()
        for _ in range(ROUNDS_OF_KILLING):
            self.value("PUT", "/services", versions[0])
            writer = threading.Thread(target=self.put_until_it_fails, args=(versions,))
            self.puts = 0
            writer.start()
            wait_until(lambda: self.puts >= 3, "some changes were made")
            self.ood.kill()
            writer.join(ANSWER_SECONDS)
            self.ood.start()
            # the killed one's announcement is still there, so that was no proof of life
            wait_until(self.answers, "the service is back")
            listed = self.value("GET", "/services?statistics=true")
            self.assertEqual(len(listed), SERVICES_OF_A_PUT)
            self.assertEqual(len({one["scheduler"] for one in listed}), 1)
            self.assertEqual({one["statistics"]["applied"] for one in listed}, {True})

    def answers(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.ood.api_port)) == 0

    def put_until_it_fails(self, versions):
        token = {"X-AUTH-TOKEN": self.token()}
        try:
            while True:
                self.ask("PUT", "/services", versions[self.puts % 2], **token)
                self.puts += 1
        except OSError:
            return
