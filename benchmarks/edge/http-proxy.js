'use strict';
// What Node users write themselves: http-proxy-3 in a cluster, with kept-alive connections to the app.
const cluster = require('node:cluster');
const http = require('node:http');

const { PORT, TARGETS, WORKERS } = process.env;

if (cluster.isPrimary) {
  for (let i = 0; i < Number(WORKERS); i++) cluster.fork();
} else {
  const { createProxyServer } = require('http-proxy-3');
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const proxy = createProxyServer({ agent, xfwd: true });
  const targets = TARGETS.split(',');
  let next = 0;
  const target = () => targets[next++ % targets.length];
  proxy.on('error', (error, request, response) => response.destroy && response.destroy());
  const server = http.createServer((request, response) => proxy.web(request, response, { target: target() }));
  server.on('upgrade', (request, socket, head) => proxy.ws(request, socket, head, { target: target() }));
  server.listen(Number(PORT), '127.0.0.1');
}
