"""Rules of sites as their owners set them and their visitors meet them: real service, real Node."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.apps import installed, nodes
from tests.support.http import ANSWER_SECONDS, Answer, Client, get
from tests.support.ood import PROGRAMS, RunningOod, wait_until

ECHO = """
const http = require('http');
http.createServer((request, response) => {
  let size = 0;
  request.on('data', (part) => { size += part.length; });
  request.on('end', () => {
    response.setHeader('X-Powered-By', 'echo');
    response.end(JSON.stringify({ app: process.env.OOD_APP, url: request.url, size,
      ip: request.socket.remoteAddress, headers: request.headers }));
  });
}).listen(process.env.PORT);
"""
MEGABYTE = 1_000_000
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes((203, 0, 113, 8, 10, 0, 0, 1, 16, 0, 0, 80))


class RulesTestCase(SynchronousTestCase):
    """Each test has a service of its own with one app."""

    def setUp(self) -> None:
        found = nodes()
        if not found:
            raise SkipTest("node is not installed")
        self.service = RunningOod(next(iter(found.values())))
        self.addCleanup(self.service.close)
        self.service.start()
        self.add("site.example")

    def add(self, name: str) -> None:
        directory = self.service.directory / name
        directory.mkdir()
        (directory / "server.js").write_text(ECHO)
        self.service.add(name, directory)

    def set(self, *pairs: str, app: str | None = "site.example") -> None:
        """Set keys by the command."""
        which = ("-a", app) if app else ()
        both = zip(pairs[::2], pairs[1::2], strict=True)
        self.service.ood("config", *which, *(word for pair in both for word in ("-s", *pair)))

    def status(self) -> Any:
        """Return the app's state; the command's exit status tells whether anything is wrong."""
        return json.loads(self.service.run("--json", "status", "site.example").stdout)

    def get(self, path: str = "/", host: str = "site.example", **headers: str) -> Answer:
        return get(self.service.http_port, host, path, **headers)

    def echo(self, path: str = "/", host: str = "site.example", **headers: str) -> Any:
        answer = self.get(path, host, **headers)
        self.assertEqual(200, answer.status, answer.body)
        return answer.json()

    def send(self, data: bytes) -> bytes:
        """Send bytes on a connection and return all that comes until its end."""
        with socket.create_connection(
            ("127.0.0.1", self.service.http_port), ANSWER_SECONDS
        ) as sock:
            sock.sendall(data)
            return b"".join(iter(lambda: sock.recv(65536), b""))


class PlaceTests(RulesTestCase):
    def test_routes(self) -> None:
        """A path belongs to another app, with and without the path."""
        self.add("api")
        self.set("routes./api", "api", "routes./raw", "api strip")
        self.assertEqual("site.example", self.echo("/apiary")["app"])
        there = self.echo("/api/users?a=1")
        self.assertEqual(("api", "/api/users?a=1"), (there["app"], there["url"]))
        self.assertEqual("site.example", there["headers"]["host"])
        self.assertEqual("127.0.0.1", there["ip"])
        there = self.echo("/raw/users?a=1")
        self.assertEqual(("api", "/users?a=1"), (there["app"], there["url"]))
        refused = self.service.run("delete", "api")
        self.assertIn("site.example routes /api to api", refused.stderr)

    def test_redirects_and_rewrites(self) -> None:
        self.set("redirects./old/*", "301 /new/*", "redirects.www.site.example", "308 site.example",
                 "rewrites./short", "/long?x=1")  # fmt: skip
        answer = self.get("/old/a?b=c")
        self.assertEqual((301, "/new/a?b=c"), (answer.status, answer.headers["Location"]))
        port = self.service.http_port
        answer = self.get("/z?q", host=f"www.site.example:{port}")
        self.assertEqual(308, answer.status)
        self.assertEqual(f"http://site.example:{port}/z?q", answer.headers["Location"])
        self.assertEqual("/long?x=1&y=2", self.echo("/short?y=2")["url"])

    def test_headers(self) -> None:
        self.set("headers.X-Frame-Options", "DENY", "headers.X-Powered-By", "",
                 "requestHeaders.X-Stage", "test", "requestId", "true")  # fmt: skip
        answer = self.get("/", X_Request_Id="mine", X_Stage="other")
        self.assertEqual("DENY", answer.headers["X-Frame-Options"])
        self.assertNotIn("X-Powered-By", answer.headers)
        seen = answer.json()["headers"]
        self.assertEqual("test", seen["x-stage"])
        self.assertRegex(seen["x-request-id"], "^[0-9a-f]{32}$")
        self.assertRegex(seen["traceparent"], "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$")

    def test_what_is_wrong_is_said(self) -> None:
        """A user who mistypes is told what would be right."""
        for key, value, words in (
            ("routes./api", "apj", "there is no app apj"),
            ("headers.X", "a\nb", "a line end"),
            ("basicAuth.ann", "hunter2", "ood password"),
            ("rateLimit", "quick", "10/s, 100/m"),
            ("allow", "10.0.0.1/8", "did you mean 10.0.0.0/8"),
            ("redirect./a", "/b", "redirects"),
        ):
            done = self.service.run("config", "-a", "site.example", "-s", key, value)
            self.assertEqual(1, done.returncode, key)
            self.assertIn(words, done.stderr)
            self.assertNotIn("hunter2", done.stderr)
        self.set("handoff", "guard")
        done = self.service.run("config", "-a", "site.example", "-s", "rateLimit", "5")
        self.assertIn("apps.site.example.handoff: is guard, but rateLimit", done.stderr)


class GateTests(RulesTestCase):
    def test_passwords(self) -> None:
        """401 without, 200 with the password, which no command line and no file ever had."""
        self.set_password("s3cret")
        self.assertEqual(401, self.get("/").status)
        self.set("basicAuthPaths", "/admin")
        self.assertEqual(200, self.get("/").status)
        answer = self.get("/admin/")
        self.assertEqual(401, answer.status)
        self.assertIn('realm="site.example"', answer.headers["WWW-Authenticate"])
        for path in ("/Admin", "//admin", "/x/../admin"):
            self.assertEqual(401, self.get(path).status, path)
        right = "Basic " + b64encode(b"ann:s3cret").decode()
        for _ in range(3):
            seen = self.echo("/admin/", Authorization=right)
            self.assertNotIn("authorization", seen["headers"])
        seen = self.echo("/", Authorization="Basic x")
        self.assertEqual("Basic x", seen["headers"]["authorization"])
        wrong = "Basic " + b64encode(b"ann:other").decode()
        self.assertEqual(401, self.get("/admin/", Authorization=wrong).status)
        self.assertNotIn("s3cret", (self.service.home / "config.json").read_text())
        self.service.ood("config", "-a", "site.example", "--unset", "basicAuthPaths")
        out = self.service.ood("password", "site.example", "ann", "--remove")
        self.assertIn("open to everybody", out)
        self.assertEqual(200, self.get("/").status)

    def set_password(self, secret: str) -> None:
        done = subprocess.run(
            [sys.executable, str(PROGRAMS / "ood"), "--json", "password", "site.example", "ann"],
            check=True,
            env=self.service.environment,
            input=f"{secret}\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(["ann"], json.loads(done.stdout)["users"])

    def test_access(self) -> None:
        self.set("deny", "127.0.0.0/8")
        self.assertEqual(403, self.get().status)
        self.set("allow", "127.0.0.1")
        self.assertEqual(200, self.get().status)

    def test_connections_from_before(self) -> None:
        """A connection that a worker has already obeys rules that came later."""
        with Client(self.service.http_port, "site.example") as client:
            self.assertEqual(200, client.ask("/").status)
            self.set("deny", "127.0.0.0/8")
            wait_until(lambda: client.ask("/").status == 403, "the worker sends requests back")

    def test_rate(self) -> None:
        self.set("rateLimit", "3/h")
        self.assertEqual([200, 200, 200, 429], [self.get().status for _ in range(4)])
        self.assertGreater(int(self.get().headers["Retry-After"]), 1000)

    def test_a_large_body(self) -> None:
        """A client that has sent only a part of too much still gets the answer."""
        self.set("bodyLimit", "1M")
        body = bytes(2 * MEGABYTE)
        head = b"POST / HTTP/1.1\r\nHost: site.example\r\n"
        for data in (
            head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
            head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        ):
            self.assertIn(b"HTTP/1.1 413 ", self.send(data))
        with Client(self.service.http_port, "site.example") as client:
            answer = client.ask("/", method="POST", body=bytes(MEGABYTE))
            self.assertEqual(MEGABYTE, answer.json()["size"])

    def test_status(self) -> None:
        """It is seen which keys keep connections from being handed off."""
        self.assertEqual([], self.status()["proxiedBecause"])
        self.set("headers.A", "b", "rateLimit", "1000")
        self.assertEqual(["headers", "rateLimit"], self.status()["proxiedBecause"])
        self.assertIn("proxied for", self.service.run("status", "site.example").stdout)


class MaintenanceTests(RulesTestCase):
    def maintain(self, *words: str) -> str:
        return self.service.ood("maintenance", "site.example", *words)

    def test_on_and_off(self) -> None:
        """503 with a page of one's own and the message, and back."""
        page = self.service.directory / "site.example" / "away.html"
        page.write_text("<h1>away</h1>")
        self.assertIn(
            "ood maintenance site.example off", self.maintain("on", "--message", "At noon.")
        )
        answer = self.get()
        self.assertEqual(503, answer.status)
        self.assertIn(b"At noon.", answer.body)
        self.assertIn("Retry-After", answer.headers)
        status = self.service.run("status")
        self.assertIn("in maintenance", status.stdout)
        self.assertEqual(0, status.returncode, "somebody wants it so")
        self.set("errorPages.maintenance", "away.html")
        wait_until(lambda: self.get().body == b"<h1>away</h1>", "the page is read")
        self.set("maintenanceAllow", "127.0.0.0/8")
        self.assertEqual(200, self.get().status)
        self.service.ood("config", "-a", "site.example", "--unset", "maintenanceAllow")
        self.assertIn("answers again", self.maintain("off"))
        self.assertEqual(200, self.get().status)

    def test_hold(self) -> None:
        """Requests wait, with their bodies, and go on when it ends."""
        self.maintain("on", "--hold", "60s")
        answers: list[Answer] = []

        def ask() -> None:
            with Client(self.service.http_port, "site.example") as client:
                answers.append(client.ask("/", method="POST", body=bytes(100_000)))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        threads[0].join(0.5)
        self.assertEqual([], answers)
        self.maintain("off")
        for thread in threads:
            thread.join(ANSWER_SECONDS)
        self.assertEqual([100_000] * 3, [answer.json()["size"] for answer in answers])
        self.maintain("on", "--hold", "1")
        self.assertEqual(503, self.get().status)

    def test_error_pages(self) -> None:
        """A page of one's own for an app that does not run; a missing one is told."""
        page = self.service.directory / "site.example" / "503.html"
        page.write_text("<h1>sorry</h1>")
        self.set("errorPages", '{"503": "503.html", "502": "nowhere.html"}')
        wait_until(
            lambda: "nowhere.html is not used: No such file" in "".join(self.status()["trouble"]),
            "the missing page is told",
        )
        self.service.ood("stop", "site.example")
        answer = self.get()
        self.assertEqual((503, b"<h1>sorry</h1>"), (answer.status, answer.body))


class ProxyTests(RulesTestCase):
    def test_trusted_proxies(self) -> None:
        """The app sees the client's address, scheme and host as the trusted proxy tells them."""
        told = {
            "X_Forwarded_For": "6.6.6.6, 203.0.113.7",
            "X_Forwarded_Proto": "https",
            "X_Forwarded_Host": "shop.example",
        }
        self.assertEqual("127.0.0.1", self.echo("/", **told)["ip"])
        self.set("trustedProxies", "127.0.0.0/8", app=None)
        seen = self.echo("/", **told)
        self.assertEqual("203.0.113.7", seen["ip"])
        self.assertEqual("203.0.113.7", seen["headers"]["x-forwarded-for"])
        self.assertEqual("https", seen["headers"]["x-forwarded-proto"])
        self.assertEqual("shop.example", seen["headers"]["x-forwarded-host"])
        self.assertEqual("127.0.0.1", self.echo()["ip"])
        self.set("deny", "203.0.113.0/24")
        self.assertEqual(403, self.get("/", **told).status)

    def test_express(self) -> None:
        """Express's req.ip is the client, without any setting in the app."""
        self.service.add("express.example", installed("express"))
        self.set("trustedProxies", "127.0.0.0/8", app=None)
        seen = self.echo("/", "express.example", X_Forwarded_For="203.0.113.7")
        self.assertEqual("203.0.113.7", seen["ip"])

    def test_proxy_protocol(self) -> None:
        """Both versions, in pieces, and several requests; without it the connection is closed."""
        self.set("proxyProtocol", "127.0.0.0/8", app=None)
        ask = b"GET / HTTP/1.1\r\nHost: site.example\r\n"
        for greeting, address in (
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n", b'"ip":"203.0.113.7"'),
            (V2, b'"ip":"203.0.113.8"'),
            (b"PROXY UNKNOWN\r\n", b'"ip":"127.0.0.1"'),
        ):
            answer = self.send(greeting + ask + b"\r\n" + ask + b"Connection: close\r\n\r\n")
            self.assertEqual(2, answer.count(address), answer)
        self.assertEqual(b"", self.refused(ask + b"\r\n"))
        with socket.create_connection(
            ("127.0.0.1", self.service.http_port), ANSWER_SECONDS
        ) as sock:
            for byte in V2 + ask + b"Connection: close\r\n\r\n":
                sock.sendall(bytes((byte,)))
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        self.assertIn(b'"ip":"203.0.113.8"', answer)
        self.assertIn("does not begin with the PROXY protocol", self.service.log())

    def test_before_tls(self) -> None:
        """The header stands before the handshake, and what comes in it holds for the rules."""
        self.set("proxyProtocol", "127.0.0.0/8", app=None)
        self.set("allow", "203.0.113.0/24")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host = "site.example.localhost"
        with socket.create_connection(
            ("127.0.0.1", self.service.https_port), ANSWER_SECONDS
        ) as sock:
            sock.sendall(V2)
            with context.wrap_socket(sock, server_hostname=host) as secure:
                secure.sendall(
                    f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
                )
                answer = b"".join(iter(lambda: secure.recv(65536), b""))
        self.assertIn(b'"ip":"203.0.113.8"', answer)

    def refused(self, data: bytes) -> bytes:
        try:
            return self.send(data)
        except ConnectionResetError:
            return b""

    def test_nobody_else_may_send_it(self) -> None:
        answer = self.send(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIn(b"HTTP/1.1 400 ", answer)
