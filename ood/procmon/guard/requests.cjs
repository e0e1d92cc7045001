'use strict';
/**
 * Every request passes here before the app sees it: Host check, headers of ood's own, counters.
 */
const http = require('http');
const { hostOf } = require('./hosts.cjs');
const { Meter } = require('./meter.cjs');

const { performance } = globalThis;

/** On a connection's handle: ood itself opened it into this process, its `X-Ood-Peer` is believed. */
const kTrusted = Symbol('ood.trusted');
/** On a socket: how many of its requests are unanswered. */
const kOpen = Symbol('ood.open'); // null: the socket is closed
/** On a socket: where its requests are counted. */
const kMeter = Symbol('ood.meter');
/** On a socket: how much had been written to it after its last answer. */
const kWritten = Symbol('ood.written');
/** On a response of this app's own: when its request came. */
const kBegan = Symbol('ood.began');
/** On a response, where there is an access log: the request. */
const kRequest = Symbol('ood.request');
/** On a socket: when its newest request came, to a tenth of a second. */
const kSince = Symbol('ood.since');

const OURS = /^x[-_]ood[-_]/i;
/** As in ood's proxied path (`ood/proxy/core/forward.py`): an app may read `_` as `-`. */
const PROXYS = /^(?:forwarded|x[-_]forwarded[-_](?:for|proto|host|port|server)|x[-_]real[-_]ip)$/i;
const DASH = 45;
const UNDERSCORE = 95;
const LOWER_O = 111;
const UPPER_O = 79;

/** As nginx has it, and ood's proxied path. */
const CLIENT_LEFT = 499;

const MISDIRECTED = 'HTTP/1.1 421 Misdirected Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

/** What is known about this process's requests. */
class Requests {
  constructor(node, servers, hosts, strangers) {
    this.node = node;
    this.servers = servers;
    this.hosts = hosts;
    this.strangers = strangers;
    this.counts = { requests: 0, s2: 0, s3: 0, s4: 0, s5: 0, misdirected: 0 };
    this.inFlight = 0;
    this.handed = new Meter(); // of connections that clients opened
    this.piped = new Meter(); // of those that ood opened: ood counts these, too
    this.access = null; // who is told of requests for the access log
    this.upgraded = new Map(); // socket -> what it was upgraded to
    this.answered = () => {}; // called with each answered request's socket
    this.now = performance.now(); // as of the last sample: to ask anew for each request would cost more
    this.watcher = null; // writes each request down
    this.goingAway = null; // while draining: whether a socket's answers should end it
    this.countKey = Object.getOwnPropertySymbols(new http.IncomingMessage()).find(
      (symbol) => symbol.description === 'kHeadersCount',
    );
    this.patchResponses();
    this.patchServer(http.Server.prototype);
  }

  /** @param {object} handle of a connection that ood opened */
  trust(handle) {
    handle[kTrusted] = true;
  }

  /** @returns {boolean} whether the socket is such a connection */
  trusts(socket) {
    const handle = socket._handle;
    return handle !== null && handle !== undefined && handle[kTrusted] === true;
  }

  /** @returns {boolean} whether a client connected to ood, and not ood, nor somebody to a server of the app's own */
  fromClient(socket) {
    return this.servers.open.has(socket.server) && !this.trusts(socket);
  }

  /** @returns {boolean} whether the server is Node's HTTP/1 server */
  speaksHttp(server) {
    return server instanceof http.Server || (this.https !== undefined && server instanceof this.https.Server);
  }

  /** @param {object} server that takes connections from now on */
  watch(server) {
    // https costs several milliseconds to load; a TLS server's app has loaded most of it already.
    if (this.https === undefined && typeof server.setSecureContext === 'function') {
      this.https = require('https');
      this.patchServer(this.https.Server.prototype);
    }
  }

  /**
   * Browsers send requests for every host that a certificate names over one HTTP/2 connection; 421 makes them open
   * another one, which ood routes.
   *
   * @param {object} server of HTTP/2
   */
  watchHttp2(server) {
    const requests = this;
    const { emit } = server;
    server.emit = function emitChecked(event, stream, headers, ...rest) {
      if (event === 'stream') {
        requests.counts.requests++;
        if (!requests.hosts.belongs(headers[':authority'] || headers.host, stream.session.socket)) {
          requests.counts.misdirected++;
          stream.respond({ ':status': 421 }, { endStream: true });
          return true;
        }
      }
      return emit.call(this, event, stream, headers, ...rest);
    };
  }

  patchServer(prototype) {
    const requests = this;
    const { emit } = prototype;
    prototype.emit = function emitChecked(event, first, second, third) {
      switch (event) {
        case 'request':
        case 'checkContinue':
        case 'checkExpectation':
          if (first && first.socket && !requests.request(event, first, second)) return true;
          return emit.call(this, event, first, second);
        case 'upgrade':
        case 'connect':
          if (first && first.socket && !requests.upgrade(event, first, second, third)) return true;
          return emit.call(this, event, first, second, third);
        default:
          return emit.apply(this, arguments);
      }
    };
  }

  patchResponses() {
    const requests = this;
    const { prototype } = http.ServerResponse;
    const { detachSocket } = prototype;
    prototype.detachSocket = function detachCounted(socket) {
      detachSocket.call(this, socket);
      requests.done(this, socket);
    };
  }

  /** @returns {boolean} whether the app is to see it */
  request(event, request, response) {
    const { socket } = request;
    this.counts.requests++;
    if (socket[kOpen] === undefined) this.follow(socket);
    if (socket[kOpen] !== null) {
      socket[kOpen]++;
      socket[kMeter].inFlight++;
      this.inFlight++;
    }
    socket[kSince] = this.now;
    if (this.watcher !== null) this.watcher.begin(socket, request);
    this.cleanHeaders(request, socket);
    if (this.goingAway !== null && this.goingAway(socket)) response.shouldKeepAlive = false;
    if (this.belongs(request, socket)) {
      this.begin(request, response, socket);
      return true;
    }
    this.counts.misdirected++;
    if (event === 'checkContinue') response.writeContinue();
    this.strangers.relay(request, response);
    return false;
  }

  /** @returns {boolean} whether the app is to see it */
  upgrade(event, request, socket, head) {
    this.counts.requests++;
    this.cleanHeaders(request, socket);
    this.upgraded.set(socket, String(request.headers.upgrade || event).toLowerCase());
    socket.once('close', () => {
      this.upgraded.delete(socket);
      this.answered(socket);
    });
    if (this.belongs(request, socket)) {
      this.beginUpgraded(request, socket);
      return true;
    }
    this.counts.misdirected++;
    if (event === 'upgrade') this.strangers.tunnel(request, socket, head);
    else socket.end(MISDIRECTED);
    return false;
  }

  belongs(request, socket) {
    return this.hosts.belongs(hostOf(request), socket) || this.trusts(socket);
  }

  /** @returns {number} when the socket's request came, on the clock of `performance.now()` */
  since(socket) {
    return socket[kSince] === undefined ? this.now : socket[kSince];
  }

  follow(socket) {
    socket[kOpen] = 0;
    socket[kMeter] = this.meterOf(socket);
    socket[kWritten] = 0;
    socket.once('close', () => {
      this.inFlight -= socket[kOpen];
      socket[kMeter].inFlight -= socket[kOpen];
      socket[kOpen] = null;
      if (socket._httpMessage) this.unfinished(socket._httpMessage, socket);
      if (this.watcher !== null) this.watcher.end(socket);
      this.answered(socket);
    });
  }

  meterOf(socket) {
    return this.trusts(socket) ? this.piped : this.handed;
  }

  /** The app gets a request. */
  begin(request, response, socket) {
    response[kBegan] = performance.now();
    if (this.access !== null && socket[kMeter] === this.handed) {
      response[kRequest] = request;
      void socket.remoteAddress; // Node keeps it; when the client is gone it can't be asked for
    }
  }

  beginUpgraded(request, socket) {
    const meter = this.meterOf(socket);
    meter.status[0]++;
    if (this.access === null || meter !== this.handed) return;
    const began = performance.now();
    const written = socket.bytesWritten;
    void socket.remoteAddress;
    socket.once('close', () => {
      if (this.access === null) return;
      this.access.note(request, socket, 101, socket.bytesWritten - written, performance.now() - began);
    });
  }

  /** The client left before its answer was complete. */
  unfinished(response, socket) {
    if (response[kBegan] !== undefined) this.measure(response, socket, response.headersSent ? response.statusCode : CLIENT_LEFT);
  }

  done(response, socket) {
    if (typeof socket[kOpen] !== 'number') return;
    socket[kOpen]--;
    socket[kMeter].inFlight--;
    this.inFlight--;
    if (this.watcher !== null) this.watcher.end(socket);
    const status = response.statusCode;
    if (status < 300) this.counts.s2++;
    else if (status < 400) this.counts.s3++;
    else if (status < 500) this.counts.s4++;
    else this.counts.s5++;
    this.measure(response, socket, status);
    this.answered(socket);
  }

  measure(response, socket, status) {
    const began = response[kBegan];
    const written = socket.bytesWritten;
    const bytes = written - socket[kWritten];
    socket[kWritten] = written;
    if (began === undefined) return; // it was another app's
    const ms = performance.now() - began;
    socket[kMeter].count(status, ms, bytes);
    const request = response[kRequest];
    if (this.access === null || request === undefined) return;
    this.access.note(request, socket, status, bodyBytes(response, bytes), ms);
  }

  /**
   * Remove `X-Ood-*`; believe `X-Ood-Peer` where it comes from ood.  What only a proxy may say goes unless ood said it:
   * an app that trusts its proxy would believe a client.
   */
  cleanHeaders(request, socket) {
    const raw = request.rawHeaders;
    if (this.trusts(socket) && raw.length > 1 && raw[raw.length - 2] === 'X-Ood-Peer') {
      const value = raw.pop();
      raw.pop();
      if (this.countKey !== undefined) request[this.countKey] -= 2;
      delete request.headers['x-ood-peer'];
      setPeer(socket, value);
      return;
    }
    for (let i = raw.length - 2; i >= 0; i -= 2) {
      const name = raw[i];
      // Nearly every header is told apart by its second character: that of `X-`, `X_` or `Forwarded`.
      const second = name.charCodeAt(1);
      if (second !== DASH && second !== UNDERSCORE && second !== LOWER_O && second !== UPPER_O) continue;
      const ours = OURS.test(name);
      if (!ours && !(PROXYS.test(name) && this.fromClient(socket))) continue;
      const [, value] = raw.splice(i, 2);
      const key = name.toLowerCase();
      if (this.countKey !== undefined) request[this.countKey] -= 2;
      delete request.headers[key];
      if (key === 'x-ood-peer' && this.trusts(socket)) setPeer(socket, value);
    }
  }
}

/** @returns {number} those of an answer's bytes that are not its head */
function bodyBytes(response, bytes) {
  const head = typeof response._header === 'string' ? response._header.length : 0;
  return Math.max(bytes - head, 0);
}

/**
 * Make a pipe's socket show the client's address, and whether the client's connection is encrypted: the next request
 * on it may be another client's.
 */
function setPeer(socket, value) {
  const [address, port, scheme] = value.split(' ');
  const family = address.includes(':') ? 'IPv6' : 'IPv4';
  socket._peername = { address, port: +port, family };
  socket.encrypted = scheme === 'https';
}

module.exports = { Requests };
