'use strict';
// The example site: plain Node, no dependencies. Nothing in it knows of ood; what the page shows
// comes from the process itself and from the PORT and NODE_APP_INSTANCE of its environment.

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const port = Number(process.env.PORT) || 3000;
const instance = Number(process.env.NODE_APP_INSTANCE) || 0;
const TICK_MS = 1000;
// A worker that is replaced first finishes its requests: one that never ends would hold that up.
// The browser opens the next stream by itself, and may then reach another worker.
const STREAM_MS = 5000;
const RECONNECT_MS = 100;

const FILES = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/style.css': ['style.css', 'text/css; charset=utf-8'],
  '/page.js': ['page.js', 'text/javascript; charset=utf-8'],
};
for (const entry of Object.values(FILES)) {
  entry.push(fs.readFileSync(path.join(__dirname, 'public', entry[0])));
}

let requests = 0;

function facts(request) {
  return {
    instance,
    pid: process.pid,
    node: process.version,
    uptimeSeconds: Math.floor(process.uptime()),
    requests,
    memoryBytes: process.memoryUsage().rss,
    you: request.socket.remoteAddress,
  };
}

// Server-sent events: the facts once a second.
function ticks(request, response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  response.write(`retry: ${RECONNECT_MS}\n`);
  const send = () => response.write(`data: ${JSON.stringify(facts(request))}\n\n`);
  send();
  const timer = setInterval(send, TICK_MS);
  const end = setTimeout(() => response.end(), STREAM_MS);
  response.on('close', () => {
    clearInterval(timer);
    clearTimeout(end);
  });
}

const server = http.createServer((request, response) => {
  requests += 1;
  const { pathname } = new URL(request.url, 'http://site');
  if (pathname === '/ticks') {
    ticks(request, response);
  } else if (pathname === '/facts') {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
    response.end(JSON.stringify(facts(request)));
  } else if (Object.hasOwn(FILES, pathname)) {
    const [, type, content] = FILES[pathname];
    response.writeHead(200, { 'Content-Type': type, 'Content-Length': content.length });
    response.end(request.method === 'HEAD' ? undefined : content);
  } else {
    response.writeHead(404, { 'Content-Type': 'text/plain; charset=utf-8' });
    response.end(`There is no ${pathname} here.\n`);
  }
});

server.listen(port, () => console.log(`worker ${instance} listens on port ${port}`));

// Answer what was asked, then go.
process.on('SIGTERM', () => {
  console.log(`worker ${instance} stops after ${requests} requests`);
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
