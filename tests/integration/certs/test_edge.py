"""The whole service: from ``ood start`` to HTTPS with a certificate, and over its death."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ood.clock import wall_time
from tests.certs.pki import write_pair
from tests.support.apps import nodes
from tests.support.gate import Gate
from tests.support.ood import RunningOod, wait_until
from tests.support.pebble import MISSING, Pebble

SERVER = "require('http').createServer((q, s) => s.end('hello')).listen(process.env.PORT)"
PATIENCE_SECONDS = 60
SHOP = "shop.ood-test.com"
BLOG = "blog.ood-test.com"
FIRST_ANSWERS, MORE_ANSWERS = 3, 1
"""Pieces of the CA's answers that the service gets before it is killed: at first, and more with
every life.  An order is some six of them, after as many others."""


def peer(port: int, name: str, authority: Path | None = None) -> str:
    """Return the fingerprint of what is served for ``name``, over which a request is answered.

    :param authority: who must have signed it; anybody if None.
    """
    context = ssl.create_default_context(cafile=str(authority) if authority else None)
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=15) as sock,
        context.wrap_socket(sock, server_hostname=name) as wire,
    ):
        wire.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := wire.recv(65536):
            answer += part
        assert answer.endswith(b"hello") or b"hello" in answer, answer
        return hashlib.sha256(wire.getpeercert(binary_form=True) or b"").hexdigest()


class EdgeCase(SynchronousTestCase):
    """A service whose ports are those that the CA asks."""

    if MISSING:
        skip = MISSING
    challenges = "http-01"

    def setUp(self) -> None:
        if not nodes():
            self.skipTest("there is no node")
        self.ca = Pebble()
        self.addCleanup(self.ca.stop)
        self.ca.start()
        self.service = RunningOod(node=list(nodes().values())[-1])
        self.addCleanup(self.service.close)
        self.service.http_port = self.ca.http_port
        self.service.https_port = self.ca.tls_port
        self.service.start()
        self.site = self.service.directory / "site"
        self.site.mkdir()
        (self.site / "server.js").write_text(SERVER)

    def agree(self, *more: str) -> None:
        settings = {"acmeDirectory": self.ca.url, "acmeCaFile": str(self.ca.ca_file)}
        settings |= {"acmeChallenges": self.challenges, "acmeAgreeTos": "true"}
        settings |= dict(zip(more[::2], more[1::2], strict=True))
        words = (word for pair in settings.items() for word in ("--set", *pair))
        self.service.ood("config", *words)

    def die(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Kill the service, and start it again."""
        self.service.kill()
        meanwhile()
        (self.service.home / "run" / "api.json").unlink(missing_ok=True)
        self.service.start()

    def state(self, name: str) -> dict[str, Any]:
        listed = self.service.json("cert", "list")["certificates"]
        return next((one for one in listed if one["name"] == name), {})

    def until_valid(self, *names: str) -> None:
        def every() -> bool:
            return all(self.state(name).get("state") == "valid" for name in names)

        try:
            wait_until(every, f"certificates of {names}", PATIENCE_SECONDS)
        except AssertionError as error:
            listed = json.dumps(self.service.json("cert", "list"), indent=1)
            self.fail(f"{error}\n{listed}\n{self.service.log()[-3000:]}")


class HttpTests(EdgeCase):
    """http-01 through the edge."""

    def test_fresh_names(self) -> None:
        """Names are served by HTTPS once the terms are accepted, a domain added later, too."""
        self.service.add("shop", self.site, "--domain", SHOP)
        status = self.service.json("status", "shop")["certificate"]
        self.assertEqual(status["state"], "terms")
        self.agree()
        self.until_valid(SHOP)
        served = peer(self.service.https_port, SHOP)
        self.assertEqual(served, self.state(SHOP)["fingerprint"])
        self.service.ood("config", "-a", "shop", "--set", "domains", f"{SHOP},{BLOG}")
        self.until_valid(BLOG)
        self.assertEqual(peer(self.service.https_port, BLOG), self.state(BLOG)["fingerprint"])
        status = self.service.json("status", "shop")["certificate"]
        self.assertEqual((status["state"], status["names"]), ("valid", [SHOP, BLOG]))
        self.assertIn(SHOP, self.service.ood("status", "shop"))

    def test_one_bad_name(self) -> None:
        """Of two names the CA can't look one up: the other is served, and status says why."""
        self.ca.spoil(BLOG)
        self.service.add("shop", self.site, "--domain", SHOP, "--domain", BLOG)
        self.agree()
        self.until_valid(SHOP)
        wait_until(lambda: self.state(BLOG).get("trouble"), "the reason", PATIENCE_SECONDS)
        self.assertIn("could not resolve", self.state(BLOG)["trouble"])
        self.assertEqual(peer(self.service.https_port, SHOP), self.state(SHOP)["fingerprint"])
        status = self.service.json("status", "shop")["certificate"]
        self.assertEqual((status["state"], status["names"]), ("partial", [SHOP]))
        self.assertIn(BLOG, self.service.run("status", "shop").stdout)

    def test_renewed_by_hand(self) -> None:
        """ood cert renew puts another certificate in its place, without a restart."""
        self.service.add("shop", self.site, "--domain", SHOP)
        self.agree()
        self.until_valid(SHOP)
        before = peer(self.service.https_port, SHOP)
        self.service.ood("cert", "renew", SHOP)
        after = peer(self.service.https_port, SHOP)
        self.assertNotEqual(before, after)
        self.assertEqual(after, self.state(SHOP)["fingerprint"])
        refused = self.service.run("cert", "remove", SHOP)
        self.assertIn("in use by shop", refused.stderr)

    def test_killed(self) -> None:
        """Killed at every step of an order, it has the certificate in the end, and keeps it."""
        gate = Gate(self.ca.port)
        self.addCleanup(gate.stop)
        gate.let(FIRST_ANSWERS)
        self.service.add("shop", self.site, "--domain", SHOP)
        self.agree("acmeDirectory", f"https://127.0.0.1:{gate.port}/dir")
        certs = self.service.home / "certs"
        order, kept = certs / "orders" / f"{SHOP}.json", certs / "acme" / f"{SHOP}.pem"
        interrupted, answers = 0, FIRST_ANSWERS
        while not kept.exists():
            wait_until(lambda: gate.held or kept.exists(), "an answer held", PATIENCE_SECONDS)
            interrupted += order.exists() and not kept.exists()
            answers += MORE_ANSWERS
            self.die(partial(gate.let, answers))
        self.assertGreater(interrupted, 0)
        gate.let(None)
        self.until_valid(SHOP)
        first = self.state(SHOP)["fingerprint"]
        self.service.ood("cert", "renew", SHOP)
        last = self.state(SHOP)["fingerprint"]
        self.assertNotEqual(last, first)
        self.ca.stop_ca()
        self.die()
        self.assertEqual(self.state(SHOP)["fingerprint"], last)
        self.assertEqual(peer(self.service.https_port, SHOP), last)


class TlsTests(EdgeCase):
    """tls-alpn-01 through the edge."""

    challenges = "tls-alpn-01"

    def test_fresh_name(self) -> None:
        """A validation gets its own certificate, everybody else the real one."""
        self.service.add("shop", self.site, "--domain", SHOP)
        self.agree()
        self.until_valid(SHOP)
        self.assertEqual(peer(self.service.https_port, SHOP), self.state(SHOP)["fingerprint"])


class WildcardTests(EdgeCase):
    """dns-01 through the settings."""

    challenges = "http-01,dns-01"

    def test_hook(self) -> None:
        """A wildcard is had by the hook; any name below it is served."""
        self.service.add("shop", self.site, "--domain", "*.ood-test.com")
        self.agree("acmeDnsHook", self.ca.hook()[0])
        self.until_valid("*.ood-test.com")
        self.assertEqual(
            peer(self.service.https_port, "any.ood-test.com"),
            self.state("*.ood-test.com")["fingerprint"],
        )


class WithoutCaTests(EdgeCase):
    """Certificates that no CA is asked for."""

    def test_local(self) -> None:
        """A name of this machine, signed by ood's own CA; what a browser checks holds."""
        self.service.add("shop", self.site)
        with contextlib.suppress(ssl.SSLError):  # the first connection makes it
            peer(self.service.https_port, "shop.localhost")
        authority = self.service.home / "certs" / "local" / "ca.pem"
        peer(self.service.https_port, "shop.localhost", authority)

    def test_own(self) -> None:
        """Own files are served, swapped when they change, and refused with the reason."""
        self.service.add("shop", self.site, "--domain", SHOP)
        files = self.service.directory / "tls"
        cert, key = write_pair(files, [SHOP], wall_time())
        self.service.ood("cert", "add", cert, key)
        first = peer(self.service.https_port, SHOP, Path(cert))
        write_pair(files, [SHOP], wall_time())
        self.service.ood("cert", "renew", SHOP)
        second = peer(self.service.https_port, SHOP, Path(cert))
        self.assertNotEqual(first, second)
        write_pair(files, [SHOP], wall_time(), timedelta(minutes=-1))
        self.service.ood("cert", "renew", SHOP)
        self.assertIn("has expired", self.state(SHOP)["trouble"])
        self.assertEqual(peer(self.service.https_port, SHOP), second)
        refused = self.service.run("cert", "add", cert, key)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("has expired", refused.stderr)
        self.service.ood("cert", "remove", SHOP)
        self.assertEqual(self.state(SHOP).get("source"), "acme")

    def test_no_keys(self) -> None:
        """Neither answers nor the log hold a key, and no file is for others to read."""
        self.service.add("shop", self.site, "--domain", SHOP)
        self.agree()
        self.until_valid(SHOP)
        said = self.service.ood("--json", "cert", "list") + self.service.log()
        self.assertNotIn("PRIVATE KEY", said)
        certs = self.service.home / "certs"
        for path in (certs, *certs.rglob("*")):
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)
