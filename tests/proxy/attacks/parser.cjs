// Says what Node makes of bytes: one JSON line {"raw": base64} in, one line of requests out.
'use strict';
const crypto = require('crypto');
const http = require('http');
const net = require('net');
const readline = require('readline');

const where = process.argv[2];
const waiting = []; // records of streams whose connection has not been accepted yet
const hash = (body) => crypto.createHash('sha1').update(body).digest('hex');

const server = http.createServer((request, response) => {
  const told = {
    method: request.method, url: request.url, headers: request.rawHeaders, complete: false,
  };
  request.socket.record.requests.push(told);
  const body = [];
  request.on('data', (data) => body.push(data));
  request.on('error', () => {});
  request.on('end', () => {
    Object.assign(told, { complete: true, body: hash(Buffer.concat(body)), trailers: request.rawTrailers });
    response.end();
  });
});
server.on('checkExpectation', (request, response) => server.emit('request', request, response));
server.on('clientError', (error, socket) => {
  socket.record.error = error.code;
  socket.destroy();
});
server.on('connection', (socket) => {
  socket.record = waiting.shift();
  socket.on('close', () => console.log(JSON.stringify(socket.record)));
});
server.httpAllowHalfOpen = true; // what was sent before the end counts
server.keepAliveTimeout = 0;

server.listen(where, () => {
  console.log(JSON.stringify(http.METHODS));
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    waiting.push({ requests: [], error: null });
    const socket = net.connect(where, () => socket.end(Buffer.from(JSON.parse(line).raw, 'base64')));
    socket.on('error', () => {});
    socket.resume();
  }).on('close', () => process.exit());
});
