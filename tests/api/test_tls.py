"""The API for other machines: who shows no certificate of ours gets nothing, and the rest
needs the token, too."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ood.api.service import ApiService
from ood.api.site import make_site
from ood.api.tls import ClientsWithCertificates
from ood.errors import StartupError
from ood.model.apitls import API_TLS, ApiTls
from ood.service import Options, makeService
from ood.testing.controller import MemoryController
from tests.api.support import TOKEN
from tests.certs.pki import Authority
from tests.support.ports import free_ports


class Files:
    """A CA that makes certificates in a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        self._authority = Authority(name)
        self._directory = directory
        directory.mkdir(exist_ok=True)
        self.file = self._write(f"{name}.pem", self._authority.pem)

    def _write(self, name: str, content: bytes) -> str:
        path = self._directory / name
        path.write_bytes(content)
        return str(path)

    def make(self, name: str) -> tuple[str, str]:
        """Return the files of a certificate and its key."""
        certificate, key = self._authority.pair(f"{name}.example", "127.0.0.1")
        return self._write(f"{name}.pem", certificate), self._write(f"{name}.key", key)


class TlsTests(TestCase):
    """A real port with TLS."""

    timeout = 60

    async def _start(self) -> None:
        directory = Path(self.mktemp()).absolute()
        self.ours, self.others = Files(directory, "ours"), Files(directory, "others")
        cert, key = self.ours.make("server")
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        tls = ApiTls(address=f"127.0.0.1:{self.port}", cert=cert, key=key, client_ca=self.ours.file)
        context = ClientsWithCertificates(tls)
        self.controller = MemoryController()
        site = make_site(self.controller, TOKEN, reactor=Clock(), tls_hosts=context.hosts())
        self.service = ApiService(site, sock, reactor, Clock(), tls=context)
        self.service.startService()

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._start())

    def tearDown(self) -> Deferred[None]:
        return self.service.stopService()

    def _ask(self, files: tuple[str, str] | None, headers: dict[str, str]) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=self.ours.file)
        if files is not None:
            context.load_cert_chain(*files)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=20, context=context
        )
        try:
            connection.request("GET", "/api/v1/settings", headers=headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def ask(self, files: tuple[str, str] | None, **headers: str) -> Deferred[tuple[int, Any]]:
        fields = {"Authorization": f"Bearer {TOKEN}", **headers}
        return deferToThread(self._ask, files, fields)

    async def test_both_proofs(self) -> None:
        """A client with a certificate and the token is answered; the token is needed, too."""
        client = self.ours.make("client")
        status, settings = await self.ask(client)
        self.assertEqual((status, settings["apiPort"]), (200, 2016))
        status, _ = await self.ask(client, Authorization="Bearer wrong")
        self.assertEqual(status, 401)

    async def test_without_certificate(self) -> None:
        """Without a certificate, or with somebody else's, there is no answer at all."""
        for files in (None, self.others.make("stranger")):
            try:
                answer = await self.ask(files)
            except OSError as error:  # ssl.SSLError among them
                self.assertIsInstance(error, (ssl.SSLError, ConnectionError))
            else:
                self.fail(f"was answered: {answer}")

    async def test_hosts(self) -> None:
        """Host has to be a name of the certificate; pages of others are refused."""
        client = self.ours.make("client")
        for host, origin, expected in (
            (f"server.example:{self.port}", None, 200),
            (f"SERVER.example:{self.port}", f"https://server.example:{self.port}", 200),
            (f"server.example:{self.port}", f"http://server.example:{self.port}", 403),
            (f"localhost:{self.port}", None, 403),
            ("server.example", None, 403),
            ("evil.example", None, 403),
        ):
            headers = {"Host": host, **({"Origin": origin} if origin else {})}
            status, _ = await self.ask(client, **headers)
            self.assertEqual(status, expected, (host, origin))


class SettingTests(SynchronousTestCase):
    """What can be set, and what can be started with."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.ours = Files(self.directory, "ours")
        self.cert, self.key = self.ours.make("server")
        self.values = {
            "address": "127.0.0.1:2017",
            "cert": self.cert,
            "key": self.key,
            "clientCa": self.ours.file,
        }

    def test_parse(self) -> None:
        """As an object, or as its JSON text; whatever is missing or wrong is refused."""
        parsed = API_TLS.parse(self.values)
        self.assertEqual(API_TLS.parse(json.dumps(self.values)), parsed)
        self.assertEqual((parsed.host, parsed.port), ("127.0.0.1", 2017))
        six = API_TLS.parse({**self.values, "address": "[::1]:7"})
        self.assertEqual((six.host, six.port), ("::1", 7))
        for changes in (
            {"address": "server.example:2017"},
            {"address": "127.0.0.1"},
            {"address": "::1:7"},
            {"address": "[127.0.0.1]:7"},
            {"address": "127.0.0.1:0"},
            {"address": "127.0.0.1:70000"},
            {"key": "relative.pem"},
            {"key": 7},
            {"other": "x"},
        ):
            self.assertRaises(ValueError, API_TLS.parse, {**self.values, **changes})
        for value in ("{", [], "7", {"address": "127.0.0.1:7"}):
            self.assertRaises(ValueError, API_TLS.parse, value)

    def test_files(self) -> None:
        """Each file that can't be used is named, with the reason."""
        garbage = self.directory / "garbage"
        garbage.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        _, other_key = self.ours.make("other")
        for changes, text in (
            ({"cert": "/nowhere"}, "cert /nowhere: No such file"),
            ({"cert": str(garbage)}, "holds no certificate"),
            ({"key": "/nowhere"}, "key /nowhere: No such file"),
            ({"key": str(garbage)}, "holds no private key"),
            ({"key": other_key}, "is not the key of the certificate"),
            ({"clientCa": "/nowhere"}, "clientCa /nowhere: No such file"),
            ({"clientCa": self.key}, "holds no certificates"),
        ):
            tls = API_TLS.parse({**self.values, **changes})
            error = self.assertRaises(StartupError, ClientsWithCertificates, tls)
            self.assertIn(text, error.message)
            self.assertIn("config.json", error.hint)

    def test_start(self) -> None:
        """The service does not start with a file that can't be used, and says so in a line."""
        home = self.directory / "home"
        home.mkdir(mode=0o700)
        document = {"schema": 1, "settings": {"apiTls": {**self.values, "cert": "/nowhere"}}}
        (home / "config.json").write_text(json.dumps(document))
        options = Options()
        port, tls_port = free_ports(2)
        ports = [f"--{name}-port=0" for name in ("http", "https")]
        options.parseOptions([f"--home={home}", f"--api-port={port}", *ports])
        error = self.assertRaises(SystemExit, makeService, options)
        self.assertIn("apiTls: cert /nowhere", str(error))
        values = {**self.values, "address": f"192.0.2.1:{tls_port}"}
        (home / "config.json").write_text(json.dumps({**document, "settings": {"apiTls": values}}))
        error = self.assertRaises(SystemExit, makeService, options)
        self.assertIn("apiTls", str(error))
