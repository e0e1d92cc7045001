"""HTTP servers that ood does not run: real Node, started by a test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest


class NodeServer:
    """A Node process that listens on ``where``: a port on 127.0.0.1, or a unix socket's path.

    :param script: JavaScript; ``where`` is its ``process.argv[1]``.
    """

    def __init__(self, script: str, where: int | Path) -> None:
        node = shutil.which("node")
        if node is None:
            raise SkipTest("there is no node")
        self.where = where
        command = [node, "-e", script, str(where)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "the server says that it listens"

    def stop(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        if isinstance(self.where, Path):
            self.where.unlink(missing_ok=True)


SAY = """
const { where, text } = { where: process.argv[1], text: %s };
const server = require('http').createServer((request, response) => {
  response.setHeader('X-From', text);
  if (request.url === '/health') return response.end('fine');
  const body = [];
  request.on('data', (one) => body.push(one));
  request.on('end', () => response.end(JSON.stringify({
    text, url: request.url, host: request.headers.host, body: Buffer.concat(body).toString(),
    client: request.headers['x-forwarded-for'],
  })));
});
server.listen(...(/^\\d+$/.test(where) ? [+where, '127.0.0.1'] : [where]), () => console.log('up'));
"""
"""A server that tells what it was asked."""


def say(text: str) -> str:
    """Return the script of a server that calls itself ``text``."""
    return SAY % repr(text)
