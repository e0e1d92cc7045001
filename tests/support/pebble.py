"""A real CA: Debian's pebble, with the name server and the servers that its validations meet."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import ContextFactory
from twisted.web.resource import Resource
from twisted.web.server import Site

from ood.interfaces import ICertificates
from tests.raft.certificates import make_certificates
from tests.support.ood import wait_until
from tests.support.ports import free_ports

MISSING = "" if shutil.which("pebble") else "needs Debian's pebble"
"""Why tests with a real CA are skipped."""
ACME_PREFIX = "/.well-known/acme-challenge/"


HOOK = """#!{python}
import json, sys, urllib.request
action, name, value = sys.argv[1:]
if action == "add":
    body = json.dumps({{"host": name + ".", "value": value}}).encode()
    urllib.request.urlopen("http://127.0.0.1:{port}/set-txt", body)
with open(__file__ + ".log", "a") as log:
    log.write(action + " " + name + chr(10))
"""
"""A DNS hook that tells the name server, and notes what it did.

The server can only forget all values of a name: while one is proved, another one may be done.
"""


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Pebble:
    """pebble and its name server, which says 127.0.0.1 for every name.

    :param nonce_reject: how many of 100 good nonces are refused.
    :param binding: key id and MAC key that accounts must be bound to.
    :ivar http_port: where http-01 asks, and tls_port tls-alpn-01.
    """

    def __init__(
        self,
        nonce_reject: int = 20,
        binding: tuple[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory_path = Path(tempfile.mkdtemp(prefix="ood-pebble-", dir="/tmp"))
        self.http_port, self.tls_port, self.port, self._manage, self.dns_port, self.dns_manage = (
            free_ports(6)
        )
        files = make_certificates(str(self.directory_path), ["localhost"])["localhost"]
        self.ca_file = Path(files[2])
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self._manage}",
            "certificate": files[0],
            "privateKey": files[1],
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": binding is not None,
            "externalAccountMACKeys": dict([binding]) if binding else {},
        }
        (self.directory_path / "pebble.json").write_text(json.dumps({"pebble": settings}))
        self._environment = {
            **os.environ,
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
            **(environment or {}),
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log = self.directory_path / "pebble.log"

    @property
    def url(self) -> str:
        """The CA's directory."""
        return f"https://127.0.0.1:{self.port}/dir"

    def root(self, number: int = 0) -> str:
        """Return the root of a chain that it signs by, as PEM."""
        where = f"https://localhost:{self._manage}/roots/{number}"
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(where, context=trust, timeout=30) as answer:
            return str(answer.read().decode())

    def start(self) -> None:
        """Start both; return when they answer."""
        self._run(
            "pebble-challtestsrv",
            *("-defaultIPv6", "", "-defaultIPv4", "127.0.0.1"),
            *(
                "-dns01",
                f"127.0.0.1:{self.dns_port}",
                "-management",
                f"127.0.0.1:{self.dns_manage}",
            ),
            *("-http01", "", "-https01", "", "-tlsalpn01", ""),
        )
        self.start_ca()
        wait_until(lambda: listens(self.dns_manage), "the name server answers")

    def start_ca(self) -> None:
        """Start the CA alone: it has forgotten everything."""
        self._run(
            "pebble",
            *("-config", str(self.directory_path / "pebble.json"), "-strict"),
            *("-dnsserver", f"127.0.0.1:{self.dns_port}"),
        )
        wait_until(lambda: listens(self.port), "the CA answers")

    def stop_ca(self) -> None:
        """End the CA alone."""
        process = self._processes.pop()
        process.kill()
        process.wait()

    def _run(self, *command: str) -> None:
        with self.log.open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    command,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def stop(self) -> None:
        """End both."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()
        shutil.rmtree(self.directory_path, ignore_errors=True)

    def spoil(self, name: str) -> None:
        """Have the name server fail for ``name`` from now on."""
        where = f"http://127.0.0.1:{self.dns_manage}/set-servfail"
        body = json.dumps({"host": name + "."}).encode()
        urllib.request.urlopen(where, body, timeout=30).close()

    def hook(self) -> list[str]:
        """Return a DNS hook's command that tells the name server."""
        path = self.directory_path / "hook.py"
        path.write_text(HOOK.format(python=sys.executable, port=self.dns_manage))
        path.chmod(0o755)
        return [str(path)]

    def hook_calls(self) -> list[str]:
        """Return the lines that the hook has written."""
        log = self.directory_path / "hook.py.log"
        return log.read_text().splitlines() if log.exists() else []


class _Tokens(Resource):
    isLeaf = True

    def __init__(self, certificates: ICertificates) -> None:
        super().__init__()
        self.certificates = certificates
        self.asked: list[str] = []

    def render_GET(self, request):
        host = request.getRequestHostname().decode()
        path = request.path.decode()
        self.asked.append(host)
        body = self.certificates.token(host, path.removeprefix(ACME_PREFIX))
        if body is None or not path.startswith(ACME_PREFIX):
            request.setResponseCode(404)
            return b"nothing here"
        return body


def serve_http(reactor: IReactorTCP, port: int, certificates: ICertificates):
    """Answer http-01 on ``port`` as the edge does."""
    site = Site(_Tokens(certificates))
    return reactor.listenTCP(port, site, interface="127.0.0.1")


class _Challenges(ContextFactory):
    """Answers tls-alpn-01, and nothing else, as the edge does."""

    def __init__(self, certificates: ICertificates) -> None:
        self.certificates = certificates

    def getContext(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_tlsext_servername_callback(self._named)
        return context

    def _named(self, connection: SSL.Connection) -> None:
        name = (connection.get_servername() or b"").decode()
        found = self.certificates.challenge(name)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        if found is not None:
            pem = crypto.FILETYPE_PEM
            context.use_certificate(crypto.load_certificate(pem, found.chain_pem))
            context.use_privatekey(crypto.load_privatekey(pem, found.key_pem))
        context.set_alpn_select_callback(lambda _, offered: b"acme-tls/1")
        connection.set_context(context)


def serve_tls(reactor, port: int, certificates: ICertificates):
    """Answer tls-alpn-01 on ``port``."""
    factory = Factory.forProtocol(Protocol)
    return reactor.listenSSL(port, factory, _Challenges(certificates), interface="127.0.0.1")
