'use strict';
/**
 * Draining: the connections of a worker that is to end go on elsewhere, none is cut.
 *
 * An idle HTTP connection over plain TCP goes back to ood with its descriptor.  A pipe of ood's is closed when idle.
 * TLS connections whose keys are here can't move: their answers say `Connection: close`, and idle ones are left to
 * the server's own keep-alive timeout for a while.
 */
const { closeUpgraded } = require('./farewell.cjs');
const { isSealed } = require('./sealed.cjs');

/** Sweeps look for connections that became idle without an answer, or arrived late. */
const SWEEP_MILLISECONDS = 20;
/** A connection that can't move is closed after 5 s, as by Node's own keepAliveTimeout, even if the app waits longer. */
const STAY_MILLISECONDS = 5000;
/** Descriptors on their way count against the user's limit of open files. */
const MAX_UNDERWAY = 64;

const { performance, setImmediate, setInterval, clearInterval } = globalThis;
const noop = () => {};

/** Empties this process of connections. */
class Drain {
  constructor(node, servers, requests, join) {
    this.node = node;
    this.servers = servers;
    this.requests = requests;
    this.join = join;
    this.active = false;
    this.underway = 0; // descriptors being sent
    this.reported = -1; // what `left` was in the last report
    this.idleSince = new WeakMap();
    this.watched = new WeakSet(); // HTTP/2 servers
    this.sessions = new Set(); // theirs
  }

  /** @param {object} server that takes connections from now on */
  watch(server) {
    if (!isHttp2(server) || this.watched.has(server)) return;
    this.watched.add(server);
    this.requests.watchHttp2(server);
    server.on('session', (session) => {
      this.sessions.add(session);
      session.once('close', () => this.sessions.delete(session));
      if (this.active) session.close();
    });
  }

  start() {
    if (this.active) return;
    this.active = true;
    this.requests.goingAway = (socket) => !this.movable(socket);
    this.requests.answered = () => this.sweepSoon();
    this.timer = setInterval(() => this.sweep(), SWEEP_MILLISECONDS);
    this.timer.unref();
    for (const session of this.sessions) session.close();
    for (const server of this.servers.open) this.lastAnswers(server);
    this.sweep();
  }

  /** Make the answers that are due end connections that can't move. */
  lastAnswers(server) {
    const list = connectionsOf(server);
    if (list === null) return;
    for (const { socket } of list.all()) {
      const response = socket && socket._httpMessage;
      if (response && !this.movable(socket)) response.shouldKeepAlive = false;
    }
  }

  leave() {
    closeUpgraded(this.requests.upgraded); // first: once the servers are closed ood may end this process
    for (const entry of this.servers.byId) if (entry !== null) entry.server.close();
  }

  sweepSoon() {
    if (this.pending) return;
    this.pending = true;
    setImmediate(() => {
      this.pending = false;
      this.sweep();
    });
  }

  sweep() {
    for (const server of this.servers.open) {
      const list = connectionsOf(server);
      if (list === null) continue;
      for (const parser of list.idle()) this.release(parser.socket);
      for (const parser of list.all()) if (this.untouched(parser.socket)) this.release(parser.socket);
    }
    this.report();
  }

  /** @returns {boolean} whether nothing came; ood writes at once into a pipe, so there it is under way */
  untouched(socket) {
    if (!socket || socket.bytesRead > 0) return false;
    return !this.requests.trusts(socket) || this.stayedLong(socket);
  }

  /** Let go of a connection if it is idle. */
  release(socket) {
    if (!socket || !isQuiet(socket)) return;
    if (this.movable(socket)) {
      if (this.underway < MAX_UNDERWAY) this.handBack(socket);
    } else if (this.requests.trusts(socket) || this.stayedLong(socket)) {
      socket.destroy();
    }
  }

  movable(socket) {
    return socket._handle instanceof this.node.TCP && (!socket.encrypted || isSealed(socket));
  }

  stayedLong(socket) {
    const now = performance.now();
    const since = this.idleSince.get(socket);
    if (since === undefined || since.read !== socket.bytesRead) {
      this.idleSince.set(socket, { at: now, read: socket.bytesRead });
      return false;
    }
    return now - since.at >= STAY_MILLISECONDS;
  }

  handBack(socket) {
    const { _handle: handle, parser } = socket;
    handle.readStop(); // from here on what the client sends stays in the kernel
    if (parser._consumed) {
      parser.unconsume();
      parser._consumed = false;
      handle._consumed = false;
    }
    handle.onread = noop;
    socket._handle = null;
    socket.setTimeout(0);
    this.underway++;
    this.join.send({ ood: 'back' }, handle, () => {
      handle.close();
      this.underway--;
      this.sweepSoon();
    });
    socket.destroy(); // the app sees 'close', and the server's counts stay right
  }

  /** Tell ood when nothing is left but what ends by itself, and again when that gets less. */
  report() {
    if (this.underway > 0) return;
    const { upgraded } = this.requests;
    let total = 0;
    let left = upgraded.size;
    for (const server of this.servers.open) {
      total += server._connections;
      if (!this.mustEnd(server)) left += server._connections;
    }
    if (total > left) {
      this.reported = -1;
    } else if (left !== this.reported) {
      this.reported = left;
      this.join.send({ ood: 'drained', left });
    }
    if (total === 0) this.stop();
  }

  /** @returns {boolean} whether the guard can tell when this server's connections are done */
  mustEnd(server) {
    return connectionsOf(server) !== null || isHttp2(server);
  }

  stop() {
    if (this.servers.open.size === 0) clearInterval(this.timer);
  }
}

/** @returns {boolean} whether it is one of Node's HTTP/2 servers (told apart without loading http2) */
function isHttp2(server) {
  return typeof server.updateSettings === 'function';
}

const lists = new WeakMap();

/** @returns {object | null} the list that Node's http keeps of a server's parsers */
function connectionsOf(server) {
  let key = lists.get(server);
  if (key === undefined) {
    key = Object.getOwnPropertySymbols(server).find((symbol) => symbol.description === 'http.server.connections');
    if (key === undefined) return null;
    lists.set(server, key);
  }
  const list = server[key];
  return list && typeof list.idle === 'function' && typeof list.all === 'function' ? list : null;
}

/** @returns {boolean} whether an idle HTTP socket has nothing under way in either direction */
function isQuiet(socket) {
  const handle = socket._handle;
  if (!handle || socket.destroyed || socket.writableEnded || !socket.parser || socket._httpMessage) return false;
  return socket.writableLength === 0 && !(handle.writeQueueSize > 0) && !socket._paused;
}

module.exports = { Drain, connectionsOf };
