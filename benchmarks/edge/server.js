'use strict';
// The least a Node site can do: the benchmark is about the way to it.
const http = require('node:http');

const bodies = new Map([
  ['/', Buffer.from('Hello from Node.\n')],
  ['/10k', Buffer.alloc(10 * 1024, 'x')],
  ['/1m', Buffer.alloc(1024 * 1024, 'x')],
]);

/** Count an upload's bytes without keeping them. */
function upload(request, response) {
  let bytes = 0;
  request.on('data', (chunk) => (bytes += chunk.length));
  request.on('end', () => response.end(`${bytes}\n`));
}

const server = http.createServer((request, response) => {
  if (request.method === 'POST') return upload(request, response);
  const body = bodies.get(request.url) || bodies.get('/');
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
  response.end(body);
});
// Rivals keep their connections to Node for longer than its default of 5 s.
server.keepAliveTimeout = 65_000;
server.on('upgrade', (request, socket) => require('./echo.cjs')(request, socket));
server.listen(Number(process.env.PORT), process.env.HOST);
