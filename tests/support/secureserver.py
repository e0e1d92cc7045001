"""An HTTPS server that ood does not run: real Node, started by a test."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.support.ports import free_ports
from tests.support.servers import NodeServer

SERVE = """
const options = OPTIONS;
const fs = require('fs');
const crypto = require('crypto');
for (const name of ['key', 'cert', 'ca']) {
  if (options[name]) options[name] = fs.readFileSync(options[name]);
}
let connections = 0, resumed = 0;
const server = require('https').createServer(options, (request, response) => {
  const [path, size] = request.url.slice(1).split('/');
  if (path === 'big') {
    response.setHeader('Content-Length', size);
    return response.end(Buffer.alloc(Number(size), 'x'));
  }
  if (path === 'count') {
    let bytes = 0;
    request.on('data', (data) => { bytes += data.length; });
    return request.on('end', () => response.end(String(bytes)));
  }
  if (path === 'echo') return request.pipe(response);
  if (path === 'die') {
    response.writeHead(200, { Connection: 'close' });
    return response.write('a part', () => process.exit(1));
  }
  const shown = request.socket.getPeerCertificate().subject;
  response.end(JSON.stringify({
    connections, resumed, headers: request.headers, name: request.socket.servername,
    tls: request.socket.getProtocol(), alpn: request.socket.alpnProtocol, client: shown && shown.CN,
  }));
});
server.on('secureConnection', (socket) => {
  connections += 1;
  resumed += socket.isSessionReused() ? 1 : 0;
});
server.on('upgrade', (request, socket, head) => {
  const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const key = request.headers['sec-websocket-key'] + guid;
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n' +
    `Connection: Upgrade\\r\\nSec-WebSocket-Accept: ${accept}\\r\\n\\r\\n`);
  let input = head;
  socket.on('data', (data) => { input = answer(socket, Buffer.concat([input, data])); });
  socket.on('error', () => socket.destroy());
});
function answer(socket, input) {
  while (input.length >= 14 || (input.length >= 6 && (input[1] & 127) < 126)) {
    const wide = { 126: 2, 127: 8 }[input[1] & 127] || 0;
    const size = wide ? Number(BigInt('0x' + input.toString('hex', 2, 2 + wide))) : input[1] & 127;
    const [mask, end] = [input.subarray(2 + wide, 6 + wide), 6 + wide + size];
    if (input.length < end) break;
    const frame = Buffer.from(input.subarray(0, 2 + wide));
    frame[1] &= 127;
    socket.write(frame);
    socket.write(input.subarray(6 + wide, end).map((byte, at) => byte ^ mask[at % 4]));
    input = input.subarray(end);
  }
  return input;
}
server.listen(+process.argv[1], '127.0.0.1', () => console.log('up'));
"""
"""A server that tells what it was asked, and how; ``OPTIONS`` are those of ``https``."""


def file(content: bytes, name: str = "file.pem") -> str:
    """Return the path of a new file that everybody may read."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    path = directory / name
    path.write_bytes(content)
    return str(path)


def secure_server(pair: tuple[bytes, bytes], port: int | None = None, **options: Any) -> NodeServer:
    """Return an HTTPS server with a certificate and its key.

    :param options: further ones of Node's ``https.createServer``.
    """
    files = {"cert": file(pair[0]), "key": file(pair[1])}
    script = SERVE.replace("OPTIONS", json.dumps({**files, **options}))
    return NodeServer(script, port or free_ports(1)[0])
