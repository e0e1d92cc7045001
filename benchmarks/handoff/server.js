'use strict';
// The least a Node site can do: the benchmark is about the way to it.
const http = require('node:http');

const body = Buffer.from('Hello from Node.\n');
http
  .createServer((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length });
    response.end(body);
  })
  .listen(Number(process.env.PORT), process.env.HOST);
