// An unmodified kind of Node server: what the proxy's integration tests put behind it.
'use strict';
const http = require('http');
const crypto = require('crypto');
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

const server = http.createServer((request, response) => {
  const [path, size] = request.url.slice(1).split('/');
  if (path === 'big') {
    response.setHeader('Content-Length', size);
    return send(response, Number(size));
  }
  if (path === 'count') {
    let bytes = 0;
    request.on('data', (data) => { bytes += data.length; });
    return request.on('end', () => response.end(String(bytes)));
  }
  if (path === 'echo') return request.pipe(response);
  if (path === 'trailers') {
    response.writeHead(200, { Trailer: 'X-Sum' });
    response.write('body');
    response.addTrailers({ 'X-Sum': '1' });
    return response.end();
  }
  if (path === 'hang') {
    response.on('close', () => console.log('closed'));
    return console.log('hanging');
  }
  response.end(JSON.stringify(request.headers));
});

function send(response, left) {
  const chunk = Buffer.alloc(65536, 'x');
  while (left > 0) {
    const size = Math.min(left, chunk.length);
    left -= size;
    if (!response.write(chunk.subarray(0, size))) return response.once('drain', () => send(response, left));
  }
  response.end();
}

server.on('upgrade', (request, socket, head) => {
  const accept = crypto.createHash('sha1').update(request.headers['sec-websocket-key'] + GUID).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.write(head);
  socket.pipe(socket);
});

const where = process.argv[2];
server.listen(where === '0' ? { port: 0, host: '127.0.0.1' } : { path: where }, () => {
  const address = server.address();
  console.log('listening', address.port || address);
});
