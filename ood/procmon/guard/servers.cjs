'use strict';
/**
 * `listen()` without listening: servers get a handle that binds nothing, and connections that ood accepted.
 */
const net = require('net');

/** The id of a server is one byte of the connection message. */
const MAX_SERVERS = 64;
const EADDRINUSE = -98;
const EMFILE = -24;
const BACKLOG = 511;

const WILDCARDS = new Set(['::', '0.0.0.0']);

/** The process's servers that take connections from ood. */
class Servers {
  /**
   * @param {object} node what `internals.load` returned
   * @param {() => object} join returns this process's membership, joining if need be
   */
  constructor(node, join) {
    this.node = node;
    this.join = join;
    this.byId = new Array(MAX_SERVERS).fill(null); // those that listen
    this.nextId = 0;
    this.open = new Set(); // those that listen or still have connections
  }

  /** Put ood's `listen` in the place of Node's. */
  install() {
    const servers = this;
    const { listen } = this.node;
    net.Server.prototype.listen = function listenOnOod(...args) {
      const [options, callback] = net._normalizeArgs(args);
      const port = args.length === 0 || typeof args[0] === 'function' ? 0 : portOf(options);
      if (port === 0 || this._handle) return Reflect.apply(listen, this, args);
      servers.listen(this, options, port, callback);
      return this;
    };
  }

  listen(server, options, port, callback) {
    if (callback !== null) server.once('listening', callback);
    if (options.signal !== undefined) closeOnAbort(server, options.signal);
    const host = options.host ? String(options.host) : null;
    const entry = new Entry(this, server, host, port);
    const error = this.claim(entry);
    server._handle = entry.handle(error);
    if (typeof server._listeningId === 'number') server._listeningId++; // a lookup of an earlier listen() is void
    server._listen2(entry.address, port, entry.family === 'IPv6' ? 6 : 4, options.backlog || BACKLOG);
    if (error === 0) server.once('listening', () => setImmediate(() => entry.announce()));
  }

  /** @returns {number} 0, or why the server can't listen */
  claim(entry) {
    if (this.byId.some((other) => other !== null && other.clashes(entry))) return EADDRINUSE;
    for (let step = 0; step < MAX_SERVERS; step++) {
      // Ids go round, so that a connection on its way to a closed server does not reach the next one.
      const id = (this.nextId + step) % MAX_SERVERS;
      if (this.byId[id] !== null) continue;
      entry.id = id;
      this.byId[id] = entry;
      this.nextId = id + 1;
      return 0;
    }
    return EMFILE;
  }

  /**
   * @param {number} id
   * @param {object} handle an accepted connection
   * @returns {boolean} whether a server took it
   */
  connection(id, handle) {
    const entry = this.byId[id];
    if (!entry || !entry.announced) return false;
    const { server } = entry;
    const limit = server.maxConnections;
    if (limit !== undefined && limit !== null && server._connections >= limit) return false;
    server._handle.onconnection(0, handle);
    return true;
  }
}

/** One server that listens by ood. */
class Entry {
  constructor(servers, server, host, port) {
    this.servers = servers;
    this.server = server;
    this.host = host;
    this.port = port;
    this.address = addressOf(host);
    this.family = this.address.includes(':') ? 'IPv6' : 'IPv4';
    this.id = -1;
    this.announced = false;
    this.wanted = true; // keeps the process alive
    this.closed = false;
  }

  clashes(other) {
    if (this.port !== other.port) return false;
    return this.address === other.address || WILDCARDS.has(this.address) || WILDCARDS.has(other.address);
  }

  /**
   * @param {number} error what the handle answers to `listen`
   * @returns {object} a TCP handle of Node's that is never bound
   */
  handle(error) {
    const { TCP, TCP_SERVER } = this.servers.node;
    const handle = new TCP(TCP_SERVER);
    const { close } = handle;
    handle.listen = () => error;
    handle.getsockname = (out) => {
      Object.assign(out, { address: this.address, family: this.family, port: this.port });
      return 0;
    };
    handle.ref = () => this.keepAlive(true);
    handle.unref = () => this.keepAlive(false);
    handle.hasRef = () => this.wanted && !this.closed;
    handle.close = (callback) => {
      this.close();
      return Reflect.apply(close, handle, [callback]);
    };
    return handle;
  }

  keepAlive(wanted) {
    if (this.wanted === wanted || this.closed) return;
    this.wanted = wanted;
    if (!this.announced) return;
    if (wanted) this.member.join.ref();
    else this.member.join.unref();
  }

  /** Tell ood, unless the server was closed at once, as those are that only probe for a free port. */
  announce() {
    if (this.closed) return;
    this.announced = true;
    this.member = this.servers.join();
    if (this.wanted) this.member.join.ref();
    this.servers.open.add(this.server);
    this.server.once('close', () => this.forget());
    this.member.listening(this);
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    if (this.id >= 0) this.servers.byId[this.id] = null;
    if (!this.announced) return;
    if (this.wanted) this.member.join.unref();
    this.member.closed(this);
  }

  forget() {
    const again = this.servers.byId.some((entry) => entry !== null && entry.server === this.server);
    if (!again) this.servers.open.delete(this.server);
  }
}

/** @returns {number} the fixed TCP port that is asked for, or 0 if Node has to deal with the call (or refuse it) */
function portOf(options) {
  if (options._handle || options.handle || (typeof options.fd === 'number' && options.fd >= 0)) return 0;
  if (net.BoundSocket !== undefined && options instanceof net.BoundSocket) return 0;
  const { signal } = options;
  if (signal !== undefined && (signal === null || typeof signal !== 'object' || !('aborted' in signal))) return 0;
  const { port } = options;
  if (typeof port !== 'number' && (typeof port !== 'string' || port.trim() === '')) return 0;
  const number = +port;
  return Number.isInteger(number) && number > 0 && number < 65536 ? number : 0;
}

/** @returns {string} what `server.address()` shows for the host asked for */
function addressOf(host) {
  if (host === null) return '::';
  if (host === 'localhost') return '127.0.0.1';
  return net.isIP(host) ? host : '::';
}

function closeOnAbort(server, signal) {
  const close = () => server.close();
  if (signal.aborted) {
    process.nextTick(close);
    return;
  }
  signal.addEventListener('abort', close, { once: true });
  server.once('close', () => signal.removeEventListener('abort', close));
}

module.exports = { Servers };
