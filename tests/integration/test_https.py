"""HTTPS through the whole service: real clients, real Node, restarts under load."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ood.testing.certificates import make_certificate
from tests.support.apps import nodes
from tests.support.load import SERVER, Load
from tests.support.ood import RunningOod, wait_until

TELLING = """
const http = require('http');
http.createServer((q, r) => {
  let bytes = 0;
  q.on('data', (data) => { bytes += data.length; });
  q.on('end', () => r.end(JSON.stringify({ encrypted: Boolean(q.socket.encrypted), bytes,
    address: q.socket.remoteAddress, proto: q.headers['x-forwarded-proto'] })));
}).listen(process.env.PORT);
"""
OWN_TLS = """
const fs = require('fs');
const own = { key: fs.readFileSync('key.pem'), cert: fs.readFileSync('chain.pem') };
require('https').createServer(own, (q, r) => {
  r.end(`own ${q.socket.getProtocol()} ${q.socket.remoteAddress}`);
}).listen(process.env.PORT);
"""
NODE_CLIENT = """
const https = require('https');
const [port, ca] = process.argv.slice(1);
const agent = new https.Agent({ keepAlive: true, maxSockets: 2, rejectUnauthorized: false });
const headers = { Host: 'site.localhost' };
const where = { port, host: '127.0.0.1', servername: 'site.localhost', agent, headers };
let left = 20;
for (let i = 0; i < 20; i++) https.get(where, (answer) => {
  answer.resume().on('end', () => {
    if (--left > 0) return;
    console.log('done', answer.statusCode);
    agent.destroy();
  });
});
"""
SECONDS = 60


def directory(service: RunningOod, name: str, script: str) -> Path:
    """Make an app's directory."""
    found = service.directory / name
    found.mkdir(exist_ok=True)
    (found / "server.js").write_text(script)
    return found


def run(*command: str, stdin: str = "") -> str:
    """Run a program; return its output."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=SECONDS, input=stdin
    )
    if done.returncode:
        raise AssertionError(f"{command}: {done.returncode} {done.stdout} {done.stderr}")
    return done.stdout


class HttpsTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not nodes():
            self.skipTest("there is no node")

    def curl(self, service: RunningOod, *options: str, host: str = "site.localhost") -> str:
        if shutil.which("curl") is None:
            self.skipTest("curl is not installed")
        port = service.https_port
        where = f"{host}:{port}:127.0.0.1"
        return run("curl", "-sk", "--resolve", where, *options, f"https://{host}:{port}/")

    def test_clients(self) -> None:
        """Curl with each version, openssl and Node get right answers; the app knows of HTTPS."""
        body = "x" * 100_000
        with RunningOod() as service:
            service.add("site", directory(service, "site", TELLING))
            service.add("port", directory(service, "port", TELLING))
            service.ood("config", "-a", "port", "-s", "handoff", "never")
            service.ood("restart", "port")
            for options in (["--http1.1"], ["--tls-max", "1.2"], ["--http2"]):
                seen = json.loads(self.curl(service, *options))
                self.assertEqual((seen["encrypted"], seen["address"]), (True, "127.0.0.1"), options)
                self.assertNotIn("proto", seen)
            posted = json.loads(self.curl(service, "--data-binary", body))
            self.assertEqual(posted["bytes"], len(body))
            seen = json.loads(self.curl(service, host="port.localhost"))
            self.assertEqual(seen["proto"], "https")
            node = next(iter(nodes().values()))
            self.assertIn("done 200", run(node, "-e", NODE_CLIENT, str(service.https_port)))
            self.openssl(service)

    def test_strict_transport_security(self) -> None:
        """Said over HTTPS only, and only where it is wanted; plain HTTP leads to HTTPS."""
        name = "site.ood-test.com"
        with RunningOod() as service:
            service.add("site", directory(service, "site", TELLING), "--domain", name)
            self.assertNotIn("strict-transport-security", self.curl(service, "-i").lower())
            service.ood("config", "-a", "site", "-s", "hsts", "31536000", "-s", "https", "only")
            answer = self.curl(service, "-i").lower()
            self.assertIn("strict-transport-security: max-age=31536000", answer)
            where = f"http://{name}:{service.http_port}/"
            plain = run("curl", "-si", "--connect-to", f"::127.0.0.1:{service.http_port}", where)
            self.assertIn(f"Location: https://{name}:{service.https_port}/", plain)
            self.assertNotIn("strict-transport-security", plain.lower())

    def test_resumption(self) -> None:
        """A client that comes again resumes its session, by each version of TLS."""
        with RunningOod() as service:
            service.add("site", directory(service, "site", TELLING))
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                context.minimum_version = context.maximum_version = version
                reused, session = self.ask(service, context, None)
                self.assertFalse(reused)
                reused, _ = self.ask(service, context, session)
                self.assertTrue(reused, version)

    def ask(
        self, service: RunningOod, context: ssl.SSLContext, session: ssl.SSLSession | None
    ) -> tuple[bool | None, ssl.SSLSession | None]:
        """Send a request; return whether a session was resumed, and the one to come back with."""
        sock = socket.create_connection(("127.0.0.1", service.https_port), SECONDS)
        with context.wrap_socket(sock, server_hostname="site.localhost", session=session) as wire:
            wire.sendall(b"GET / HTTP/1.1\r\nHost: site.localhost\r\nConnection: close\r\n\r\n")
            while wire.recv(65536):
                pass
            return wire.session_reused, wire.session

    def openssl(self, service: RunningOod) -> None:
        """Ask with a client that shows what it gets."""
        if shutil.which("openssl") is None:
            return
        request = "GET / HTTP/1.1\nHost: site.localhost\nConnection: close\n\n"
        where = ("-connect", f"127.0.0.1:{service.https_port}", "-servername", "site.localhost")
        output = run("openssl", "s_client", *where, "-crlf", "-ign_eof", stdin=request)
        self.assertIn("200 OK", output)
        self.assertIn('"encrypted":true', output)

    def test_restarts_under_load(self) -> None:
        """Workers are replaced under clients of every style, and none of them notices."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with RunningOod() as service:
            service.add("site", directory(service, "site", SERVER), "--instances", "2")
            load = Load(service.https_port, 32, 4, context)
            load.start()
            try:
                for _ in range(2):
                    wait_until(partial(self.asked, load, load.requests + 50), "the load goes on")
                    service.ood("restart", "site")
            finally:
                load.stop()
        self.assertEqual((load.failures[:5], load.closes), ([], 0), load.requests)

    @staticmethod
    def asked(load: Load, count: int) -> bool:
        return load.requests >= count

    def test_passthrough(self) -> None:
        """A Node app with a certificate of its own gets its connections as they come."""
        with RunningOod() as service:
            own = directory(service, "own", OWN_TLS)
            certificate = make_certificate("own.localhost")
            (own / "key.pem").write_bytes(certificate.key_pem)
            (own / "chain.pem").write_bytes(certificate.chain_pem)
            service.add("own", own)
            service.ood("config", "-a", "own", "-s", "tls", "passthrough")
            trust = str(own / "chain.pem")
            answer = self.curl(service, "--no-insecure", "--cacert", trust, host="own.localhost")
            self.assertEqual(answer, "own TLSv1.3 127.0.0.1")

    def test_a_port_that_is_taken(self) -> None:
        """The service says which setting it is about."""
        with RunningOod() as first:
            second = RunningOod()
            second.https_port = first.https_port
            self.addCleanup(second.close)
            with self.assertRaises(AssertionError) as caught:
                second.start()
            self.assertIn("HTTPS (httpsPort)", str(caught.exception))
            self.assertIn("is in use", str(caught.exception))
