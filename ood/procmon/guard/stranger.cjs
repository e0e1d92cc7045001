'use strict';
/**
 * Requests for other apps' hosts go back to ood, and the answers to the client.
 */
const http = require('http');
const net = require('net');

/** An idle connection to ood is kept this long. */
const KEEP_MILLISECONDS = 4000;
const FREE_SOCKETS_PER_HOST = 8;
const FREE_HOSTS = 100;

const HOP_BY_HOP = /^(?:connection|keep-alive|proxy-connection|te|upgrade|expect|x-ood-.*)$/i;
const ANSWER_HOP_BY_HOP = /^(?:connection|keep-alive|proxy-connection|transfer-encoding|upgrade)$/i;
const STALE = new Set(['ECONNRESET', 'EPIPE']);

/** The way back for requests that came here on a connection of this app, but are another's. */
class Strangers {
  /** @param {string} path ood's socket */
  constructor(path) {
    this.path = path;
    this.agent = new http.Agent({ keepAlive: true, timeout: KEEP_MILLISECONDS, maxFreeSockets: FREE_SOCKETS_PER_HOST });
  }

  relay(request, response) {
    const { socket } = request;
    if (socket.destroyed) return;
    const headers = withoutHopByHop(request.rawHeaders, HOP_BY_HOP);
    headers.push('X-Ood-Peer', peerOf(socket));
    this.trim();
    const options = {
      socketPath: this.path,
      method: request.method,
      path: request.url,
      headers,
      setHost: false,
      agent: this.agent,
      host: request.headers.host, // one pool for each host
    };
    const exchange = { options, request, response, asked: null, again: true };
    response.on('close', () => {
      if (!response.writableFinished && exchange.asked !== null) exchange.asked.destroy();
    });
    try {
      this.ask(exchange);
    } catch {
      refuse(response); // Node's client refuses some things that its server takes
    }
  }

  ask(exchange) {
    const { options, request, response } = exchange;
    const asked = http.request(options);
    exchange.asked = asked;
    let answered = false;
    asked.on('response', (answer) => {
      answered = true;
      pass(answer, response);
    });
    const bodiless = !('content-length' in request.headers) && !('transfer-encoding' in request.headers);
    asked.on('error', (error) => {
      if (answered) return; // ood did not want the rest of the body
      if (exchange.again && bodiless && asked.reusedSocket && STALE.has(error.code) && !response.destroyed) {
        exchange.again = false; // ood closed the idle connection just then
        this.ask(exchange);
      } else {
        refuse(response);
      }
    });
    if (bodiless) asked.end();
    else request.pipe(asked);
  }

  /** Keep few idle connections, however many hosts clients make up. */
  trim() {
    const free = Object.values(this.agent.freeSockets);
    if (free.length > FREE_HOSTS) for (const sockets of free) for (const socket of [...sockets]) socket.destroy();
  }

  /** Relay an upgrade byte by byte: the connection is the other app's from here on. */
  tunnel(request, socket, head) {
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    const headers = withoutHopByHop(request.rawHeaders, HOP_BY_HOP);
    for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
    // Beyond doubt an upgrade for ood: after one that is refused it reads no further request here, whose
    // X-Ood-Peer would be the client's own.
    lines.push('Connection: Upgrade', `Upgrade: ${request.headers.upgrade || 'none'}`);
    lines.push(`X-Ood-Peer: ${peerOf(socket)}`);
    const back = net.connect(this.path);
    back.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    if (head.length > 0) back.write(head);
    const close = () => {
      back.destroy();
      socket.destroy();
    };
    back.on('error', close);
    socket.on('error', close);
    back.on('close', close);
    socket.on('close', close);
    back.pipe(socket);
    socket.pipe(back);
  }
}

function peerOf(socket) {
  return `${socket.remoteAddress} ${socket.remotePort}${socket.encrypted ? ' https' : ''}`;
}

function withoutHopByHop(raw, pattern) {
  const headers = [];
  for (let i = 0; i < raw.length; i += 2) if (!pattern.test(raw[i])) headers.push(raw[i], raw[i + 1]);
  return headers;
}

/** Pass an answer on to the client. */
function pass(answer, response) {
  response.sendDate = false;
  try {
    response.writeHead(answer.statusCode, answer.statusMessage, withoutHopByHop(answer.rawHeaders, ANSWER_HOP_BY_HOP));
  } catch {
    answer.destroy();
    refuse(response);
    return;
  }
  answer.on('error', () => response.destroy());
  answer.on('aborted', () => response.destroy());
  answer.pipe(response);
}

function refuse(response) {
  if (response.headersSent || response.destroyed) {
    response.destroy(); // half an answer must not look whole
    return;
  }
  response.writeHead(502, { 'Content-Type': 'text/plain', Connection: 'close' });
  response.end('ood: the way to this host is interrupted\n');
}

module.exports = { Strangers };
