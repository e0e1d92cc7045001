"""Plays HTTPS through the whole service on a kernel that does TLS, in user-mode Linux.

``python -m tests.integration.ktls.guest`` says "done" at its end.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import urllib.request

from ood.proxy.tls.kernel import describe, probe
from tests.support import ood as support
from tests.support.ood import RunningOod

SLOW_SECONDS = 120
"""System calls take some fifty times as long in the guest."""
HOST = "site.localhost"
SERVER = """
const http = require('http');
const net = require('net');
const app = http.createServer((q, r) => {
  let bytes = 0;
  q.on('data', (data) => { bytes += data.length; });
  q.on('end', () => {
    const told = { pid: process.pid, encrypted: Boolean(q.socket.encrypted), bytes,
      tcp: q.socket.remoteFamily === 'IPv4' && q.socket.remotePort > 0 && !q.headers['x-ood-peer'],
      handle: q.socket._handle.constructor.name };
    if (q.url === '/slow') setTimeout(() => r.end(JSON.stringify(told)), 300);
    else r.end(JSON.stringify(told));
  });
});
app.on('clientError', (error, socket) => {
  console.log('clientError', error.code);
  socket.destroy();
});
app.keepAliveTimeout = 600000; // a restart takes long in the guest
app.listen(process.env.PORT);
process.on('uncaughtException', (error) => console.log('uncaught', error.stack));
"""


class Browser:
    """A kept-alive HTTPS connection."""

    def __init__(self, port: int) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", port), SLOW_SECONDS)
        self.sock = context.wrap_socket(raw, server_hostname=HOST)
        self.file = self.sock.makefile("rb")

    def ask(self, path: str = "/", body: bytes = b"", host: str = HOST) -> dict[str, object]:
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.sock.sendall(head.encode() + body)
        status = self.file.readline()
        length = 0
        while (line := self.file.readline()) != b"\r\n":
            assert line, f"ended after {status!r}"
            name, _, value = line.decode().lower().partition(":")
            length = int(value) if name == "content-length" else length
        assert b" 200 " in status, status
        return json.loads(self.file.read(length))

    def end(self) -> None:
        """Say TLS's end while nothing is under way."""
        try:
            self.sock.unwrap()
        except (OSError, ssl.SSLError):
            self.sock.close()


def counted(service: RunningOod, name: str) -> int:
    """Return a metric of the service's."""
    token = (service.home / "api-token").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.api_port}/metrics",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=SLOW_SECONDS) as response:
        text = response.read().decode()
    found = re.search(rf"^{name}(?:{{[^}}]*}})? (\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0


def play(service: RunningOod) -> None:
    for name in ("site", "other"):
        directory = service.directory / name
        directory.mkdir()
        (directory / "server.js").write_text(SERVER)
        service.add(name, directory)
    first = Browser(service.https_port)
    told = first.ask()
    assert told["handle"] == "TCP", f"handed off, not by a pipe: {told}"
    assert told["encrypted"] is True and told["tcp"] is True, told
    assert counted(service, "ood_tls_kernel_total") == 1
    assert first.ask("/up", b"x" * 200_000)["bytes"] == 200_000
    assert first.ask("/slow")["pid"] == told["pid"]

    stranger = first.ask(host="other.localhost")
    assert stranger["pid"] != told["pid"] and stranger["encrypted"] is True, stranger

    ending = Browser(service.https_port)
    ending.ask()
    ending.end()
    assert first.ask()["pid"] == told["pid"], "another connection's end changes nothing"

    service.ood("restart", "site")
    again = first.ask()
    assert again["pid"] != told["pid"], "the connection moved to the new worker"
    assert again["encrypted"] is True and again["handle"] == "TCP", again
    log = service.ood("log", "site", "-n", "50")
    assert "uncaught" not in log and "clientError" not in log, log


def main() -> None:
    support.READY_SECONDS = support.COMMAND_SECONDS = support.STOP_SECONDS = SLOW_SECONDS
    assert probe(), describe(probe())
    with RunningOod() as service:
        try:
            play(service)
        except BaseException:
            print(service.log()[-3000:], service.ood("log", "site", "-n", "60"))
            raise
    print("done")


if __name__ == "__main__":
    main()
