"""Scripts for Varnish's tester, in tests/vtc: a client and an opinion on HTTP that are not ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.ood import RunningOod

SCRIPTS = Path(__file__).parent.parent / "vtc"
SECONDS = 60
APP = """
// Only when all has come: a connection does not outlive an answer that overtakes its request.
function echo(request, response) {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    for (const part of parts) response.write(part);
    response.end();
  });
}
const server = require('http').createServer((request, response) => {
  switch (request.url) {
    case '/ok': return response.setHeader('Content-Length', 2).end('ok');
    case '/204': return response.writeHead(204).end();
    case '/304': return response.writeHead(304).end();
    case '/echo': return echo(request, response);
    case '/hints':
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      return response.end('hinted');
    case '/trailers':
      response.writeHead(200, { Trailer: 'X-Sum' });
      response.write('body');
      response.addTrailers({ 'X-Sum': '1' });
      return response.end();
    case '/broken':
      response.writeHead(200, { 'Content-Length': 100 });
      return response.write('half', () => setTimeout(() => request.socket.destroy(), 100));
  }
  response.writeHead(404).end('none');
});
server.on('upgrade', (request, socket, head) => {
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\n'
    + 'Upgrade: websocket\\r\\n\\r\\n');
  socket.write(head);
  socket.pipe(socket);
});
server.listen(process.env.PORT);
"""


class VarnishTests(SynchronousTestCase):
    """Both ways to an app answer each script alike."""

    if shutil.which("varnishtest") is None:
        skip = "varnishtest (Debian: varnish) is not installed"
    elif shutil.which("node") is None:
        skip = "there is no node"

    def setUp(self) -> None:
        self.service = RunningOod()
        self.service.start()
        self.addCleanup(self.service.close)
        directory = self.service.directory / "site"
        directory.mkdir()
        (directory / "server.js").write_text(APP)
        self.service.add("site", directory)

    def run_scripts(self) -> None:
        for script in sorted(SCRIPTS.glob("*.vtc")):
            command = ["varnishtest", "-D", f"port={self.service.http_port}", str(script)]
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=SECONDS
            )
            self.assertEqual(0, done.returncode, done.stdout[-4000:] + done.stderr)

    def test_handed_off(self) -> None:
        """The app itself answers."""
        self.run_scripts()

    def test_proxied(self) -> None:
        """Every message passes through ood."""
        self.service.ood("config", "-a", "site", "-s", "handoff", "never")
        self.service.ood("restart", "site")
        self.run_scripts()
