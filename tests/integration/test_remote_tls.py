from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from datetime import timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.certs.pki import Authority
from tests.support.http import Client, get
from tests.support.ood import RunningOod, wait_until
from tests.support.ports import free_ports
from tests.support.secureserver import file, secure_server
from tests.support.servers import NodeServer
from tests.support.websocket import BINARY, WebSocket

HOST = "api.localhost"
SECONDS = 60
CA, OTHER_CA = Authority("test CA"), Authority("other CA")
GOOD = CA.pair("127.0.0.1", "api.example")


class RemoteTlsTests(SynchronousTestCase):
    """The real service before real HTTPS servers that it does not run."""

    def setUp(self) -> None:
        self.service = RunningOod()
        self.addCleanup(self.service.close)
        self.service.start()
        (self.port,) = free_ports(1)
        self.ca = file(CA.pem)

    def serve(self, pair: tuple[bytes, bytes] = GOOD, **options: Any) -> tuple[NodeServer, str]:
        """Return a new server, and its address."""
        server = secure_server(pair, **options)
        self.addCleanup(server.stop)
        return server, f"https://127.0.0.1:{server.where}"

    def add(self, *upstreams: str, start: bool = True) -> None:
        words = [word for one in upstreams for word in ("--upstream", one)]
        self.service.ood("init", "api", *words, "--port", str(self.port))
        if start:
            self.service.ood("start", "api")

    def upstreams(self) -> list[dict[str, Any]]:
        status = json.loads(self.service.run("--json", "status", "api").stdout)
        found: list[dict[str, Any]] = status["upstreams"]
        return found

    def test_from_init_to_a_websocket(self) -> None:
        """An https:// upstream serves requests, big bodies and WebSockets, on kept connections."""
        _, address = self.serve()
        said = self.service.ood(
            "init", "api", "--upstream", f"{address} caFile={self.ca}", "--port", str(self.port)
        )
        self.assertIn(f"upstreams  {address}\n", said)
        self.assertNotIn("verif", said)
        self.assertIn("online, 1 upstream", self.service.ood("start", "api"))
        with Client(self.service.http_port, HOST) as client:
            first = client.ask("/", headers={"X-Forwarded-Proto": "https"}).json()
            self.assertEqual(("TLSv1.3", "http/1.1"), (first["tls"], first["alpn"]))
            self.assertEqual("http", first["headers"]["x-forwarded-proto"])
            self.assertEqual(HOST, first["headers"]["host"])
            again = [client.ask("/").json()["headers"] for _ in range(20)]
            self.assertEqual(20, len(again))
            body = bytes(range(256)) * 40_000
            self.assertEqual(body, client.ask("/echo", method="POST", body=body).body)
        with Client(self.service.http_port, HOST) as client:
            self.assertEqual(b"10240000", client.ask("/count", method="PUT", body=body).body)
            self.assertEqual(50_000_000, len(client.ask("/big/50000000").body))
        for port in (self.service.http_port, self.port):
            host = HOST if port != self.port else f"127.0.0.1:{port}"
            with WebSocket(port, host) as one:
                self.assertEqual(b"hello", one.echo(b"hello"))
                self.assertEqual(b"x" * 300_000, one.echo(b"x" * 300_000, BINARY))
        (upstream,) = self.upstreams()
        self.assertEqual((0, "online"), (upstream["failures"], upstream["state"]))

    def test_connections_are_kept_and_sessions_resumed(self) -> None:
        """Requests share a connection; one more is opened only if needed, and resumes."""
        for newest in ("TLSv1.2", "TLSv1.3"):
            _, address = self.serve(maxVersion=newest, keepAliveTimeout=600_000)
            written = f"{address} caFile={self.ca} serverName=api.example"
            if newest == "TLSv1.2":
                self.add(written, start=False)
                self.service.ood("config", "-a", "api", "-s", "healthInterval", "0")
                self.service.ood("start", "api")
            else:
                self.service.ood("config", "-a", "api", "-s", "upstreams", written)
            first = [get(self.service.http_port, HOST).json() for _ in range(5)][-1]
            self.assertLess(first["connections"], 5)
            self.assertEqual((newest, "api.example"), (first["tls"], first["name"]))
            with WebSocket(self.service.http_port, HOST) as tunnel:
                self.assertEqual(b"x", tunnel.echo(b"x"), "it has the kept connection")
                second = get(self.service.http_port, HOST).json()
            self.assertLess(first["connections"], second["connections"])
            self.assertEqual(second["connections"] - 1, second["resumed"])

    def test_who_is_not_trusted(self) -> None:
        """Each reason is told in the status, the log and by the command; clients get a 502."""
        for pair, words, reason in (
            (CA.pair("other.example"), "", "is for other.example, not for 127.0.0.1"),
            (CA.pair("127.0.0.1", ends=-timedelta(days=2)), "", "expired on"),
            (OTHER_CA.pair("127.0.0.1"), "", f"not signed by a CA in {self.ca}"),
            (GOOD, "serverName=b.example", "is for api.example, 127.0.0.1, not for b.example"),
        ):
            _, address = self.serve(pair)
            self.add(f"{address} caFile={self.ca} {words}", start=False)
            failed = self.service.run("start", "api")
            self.assertEqual(1, failed.returncode)
            self.assertIn(reason, failed.stderr)
            self.assertIn(reason, self.upstreams()[0]["reason"])
            self.assertIn(reason, self.service.ood("log", "api"))
            self.assertIn(reason, self.service.run("status", "api").stdout)
            answer = get(self.service.http_port, HOST)
            self.assertIn(answer.status, (502, 503))
            self.assertNotIn(b"certificate", answer.body)
            self.service.ood("delete", "api", "--purge")

    def test_unverified(self) -> None:
        """verify=false lets anybody answer, which init, config and the doctor tell."""
        _, address = self.serve(OTHER_CA.pair("x"))
        said = self.service.ood(
            "init", "api", "--upstream", f"{address} verify=false", "--port", str(self.port)
        )
        warning = f"The certificate of {address} is not verified"
        self.assertIn(warning, said)
        self.service.ood("start", "api")
        self.assertEqual(200, get(self.service.http_port, HOST).status)
        self.assertIn(f"api: the certificate of {address} is not verified", self.doctor())
        said = self.service.ood("config", "-a", "api", "-s", "upstreams", f"{address} verify=off")
        self.assertIn(warning, said)
        written = f'[{{"address":"{address}","caFile":"/nonexistent/ca.pem"}}]'
        said = self.service.ood("config", "-a", "api", "-s", "upstreams", written)
        self.assertNotIn(warning, said)
        wait_until(lambda: self.upstreams()[0]["reason"], "it is looked at anew", SECONDS)
        reason = "caFile /nonexistent/ca.pem: No such file or directory"
        self.assertEqual(reason, self.upstreams()[0]["reason"])
        self.assertIn(f"api: {reason}", self.doctor())
        self.assertIn("caFile", self.service.ood("config", "-a", "api", "-g", "upstreams"))

    def doctor(self) -> str:
        return self.service.run("doctor").stdout

    def test_a_client_certificate(self) -> None:
        """It is shown to a server that asks for one; without it the status says what is missing."""
        cert, key = map(file, CA.pair("client.example", client=True))
        for newest in ("TLSv1.2", "TLSv1.3"):
            _, address = self.serve(
                requestCert=True, rejectUnauthorized=True, ca=self.ca, maxVersion=newest
            )
            self.add(f"{address} caFile={self.ca} certFile={cert} keyFile={key}")
            self.assertEqual("test", get(self.service.http_port, HOST).json()["client"])
            self.service.ood(
                "config", "-a", "api", "-s", "healthPath", "/",
                "-s", "upstreams", f"{address} caFile={self.ca}",
            )  # fmt: skip
            wait_until(lambda: self.upstreams()[0]["reason"], "it is asked without one", SECONDS)
            if newest == "TLSv1.3":
                self.assertIn("certFile and keyFile", self.upstreams()[0]["reason"])
            self.assertIn(get(self.service.http_port, HOST).status, (502, 503))
            self.service.ood("delete", "api", "--purge")

    def test_servers_that_fail(self) -> None:
        """One that says nothing, and one that dies in its answer: another one takes over."""
        (silent, first), (dying, second) = self.silent(), self.serve()
        with closing(silent):
            self.add(f"{first} weight=1000 verify=false", f"{second} caFile={self.ca}", start=False)
            self.service.ood("config", "-a", "api", "-s", "healthInterval", "0")
            self.service.ood("config", "-a", "api", "-s", "maxFails", "1")
            self.service.ood("start", "api")
            with Client(self.service.http_port, HOST) as client:
                self.assertEqual(b"x", client.ask("/echo", method="POST", body=b"x").body)
            reason = "its TLS handshake took longer than 5 s"
            self.assertEqual(reason, self.upstreams()[0]["reason"])
            self.assertIn(reason, self.service.ood("log", "api"))
        self.service.ood(
            "config", "-a", "api", "-s", "upstreams", f"{second} caFile={self.ca}",
            "-s", "healthInterval", "1000", "-s", "healthPath", "/",
        )  # fmt: skip
        wait_until(lambda: self.upstreams()[0]["state"] == "online", "it is well", SECONDS)
        cut = (http.client.IncompleteRead, ConnectionResetError)
        with Client(self.service.http_port, HOST) as client, self.assertRaises(cut):
            client.ask("/die")
        wait_until(lambda: self.upstreams()[0]["state"] == "errored", "it is out", SECONDS)
        dying.stop()
        assert isinstance(dying.where, int)
        back = secure_server(GOOD, dying.where)
        self.addCleanup(back.stop)
        wait_until(lambda: self.upstreams()[0]["state"] == "online", "it is back", SECONDS)
        self.assertEqual(200, get(self.service.http_port, HOST).status)

    def silent(self) -> tuple[socket.socket, str]:
        """Return what takes connections and says nothing, and its address."""
        (port,) = free_ports(1)
        listening = socket.create_server(("127.0.0.1", port))
        return listening, f"https://127.0.0.1:{port}"
