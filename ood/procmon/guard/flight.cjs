'use strict';
/**
 * Which requests are in flight, and how ood gets to know it though this process dies.
 *
 * Three ways, from the cheapest to the surest: requests that take long are told with the numbers; at the end of the
 * process (an uncaught exception, `process.exit`) all are left in a file; and while ood *watches*, after a death that
 * ran no code of ours, each request is written down before the app sees it.
 */
const fs = require('fs');
const path = require('path');
const { isMainThread } = require('worker_threads');
const { connectionsOf } = require('./drain.cjs');

/** A request that takes longer is told with the numbers. */
const SLOW_MILLISECONDS = 1000;
/** How many are told, and how many are left at the end. */
const SLOW_TOLD = 8;
const LEFT = 32;
const METHOD_LENGTH = 20;
const PATH_LENGTH = 200;
const MESSAGE_LENGTH = 1000;
const STACK_LENGTH = 2000;
/** An exception that the app caught itself is not why it ends so much later. */
const FATAL_MILLISECONDS = 30000;
/** An app that lives on exceptions is looked at once a second. */
const FATAL_PAUSE_MILLISECONDS = 1000;
/** While ood watches: so many requests have a place of so many bytes in the file. */
const SLOTS = 64;
const SLOT_BYTES = 256;
/** The inspector's own port, which only one process can have, and those of which one is chosen instead. */
const INSPECTOR_PORT = 9229;
const FIRST_PORT = 16384;
const PORTS = 16384;
/** On a socket: its place. */
const kSlot = Symbol('ood.slot');
/** Under it the process tells its requests to whoever looks at it from outside while it hangs. */
const kFlight = Symbol.for('ood.flight');

// Apps replace these (fake clocks, fake file systems), and none of that is meant for the guard.
const { openSync, writeSync, writeFileSync, closeSync } = fs;
const { performance } = globalThis;

/** This process's requests in flight. */
class Flight {
  constructor(servers, requests, env) {
    this.servers = servers;
    this.requests = requests;
    this.file = path.join(path.dirname(env.OOD_JOIN), `last-${process.pid}`);
    this.fatal = null; // the last uncaught exception
    if (!isMainThread) return;
    // Should ood have to look into several processes at once, each needs a port of its own.
    if (process.debugPort === INSPECTOR_PORT) process.debugPort = FIRST_PORT + Math.floor(Math.random() * PORTS);
    Object.defineProperty(process, kFlight, { value: () => JSON.stringify(this.list(LEFT)) });
    process.on('uncaughtExceptionMonitor', (error) => this.caught(error));
    process.on('exit', (code) => this.leave(code));
  }

  /** @returns {Array<[string, string, number]>} method, path and age of the newest requests */
  list(most) {
    return this.all()
      .sort((a, b) => a[2] - b[2])
      .slice(0, most);
  }

  /** @returns {Array<[string, string, number]>} those that take long, the oldest first */
  slow() {
    if (this.requests.inFlight === 0) return [];
    const slow = this.all().filter((entry) => entry[2] > SLOW_MILLISECONDS);
    return slow.sort((a, b) => b[2] - a[2]).slice(0, SLOW_TOLD);
  }

  all() {
    const found = [];
    const now = performance.now();
    for (const server of this.servers.open) {
      const list = connectionsOf(server);
      if (list === null) continue;
      for (const { socket } of list.all()) {
        const request = socket && socket._httpMessage && socket._httpMessage.req;
        if (!request) continue;
        found.push([methodOf(request), pathOf(request), Math.round(now - this.requests.since(socket))]);
      }
    }
    return found;
  }

  caught(error) {
    const at = performance.now();
    if (this.fatal !== null && at - this.fatal.at < FATAL_PAUSE_MILLISECONDS) return;
    try {
      this.fatal = { at, error: described(error), requests: this.list(LEFT) };
    } catch {
      this.fatal = null; // what was thrown can be anything
    }
  }

  /** Leave what is known: this process ends. */
  leave(code) {
    try {
      const { fatal } = this;
      const recent = fatal !== null && performance.now() - fatal.at < FATAL_MILLISECONDS;
      const requests = recent ? fatal.requests : this.list(LEFT);
      if (code === 0 && !recent && requests.length === 0) return;
      writeFileSync(this.file, JSON.stringify({ error: recent ? fatal.error : null, requests }), { mode: 0o600 });
    } catch {
      // it ends without
    }
  }

  /** @param {boolean} on whether each request is to be written down before the app sees it */
  watch(on) {
    if (on === (this.requests.watcher !== null) || !isMainThread) return;
    if (!on) {
      closeSync(this.requests.watcher.descriptor);
      this.requests.watcher = null;
      return;
    }
    try {
      this.requests.watcher = new Watcher(openSync(this.file, 'w', 0o600));
    } catch {
      // no room on the disk: it goes on without
    }
  }
}

/** Keeps a file in which the requests in flight stand at any moment. */
class Watcher {
  constructor(descriptor) {
    this.descriptor = descriptor;
    this.buffer = Buffer.alloc(SLOT_BYTES);
    this.nothing = Buffer.alloc(1);
    this.free = Array.from({ length: SLOTS }, (_, index) => index);
  }

  begin(socket, request) {
    const slot = socket[kSlot] >= 0 ? socket[kSlot] : this.free.pop();
    if (slot === undefined) return;
    socket[kSlot] = slot;
    const length = this.buffer.fill(0).write(`${methodOf(request)} ${pathOf(request)}\n`, 'latin1');
    this.write(this.buffer, length, slot);
  }

  end(socket) {
    const slot = socket[kSlot];
    if (!(slot >= 0)) return;
    socket[kSlot] = -1;
    this.free.push(slot);
    this.write(this.nothing, 1, slot);
  }

  write(buffer, length, slot) {
    try {
      writeSync(this.descriptor, buffer, 0, length, slot * SLOT_BYTES);
    } catch {
      // a full disk: what stands there is older
    }
  }
}

function methodOf(request) {
  return String(request.method).slice(0, METHOD_LENGTH);
}

/** @returns {string} without the query, which may hold secrets */
function pathOf(request) {
  return String(request.url)
    .replace(/[?#].*$/s, '')
    .slice(0, PATH_LENGTH);
}

function described(error) {
  const text = (value, length) => (value === undefined || value === null ? '' : String(value).slice(0, length));
  if (error === null || typeof error !== 'object') return { message: text(error, MESSAGE_LENGTH) };
  return {
    name: text(error.name, 100),
    message: text(error.message, MESSAGE_LENGTH),
    code: text(error.code, 100),
    stack: text(error.stack, STACK_LENGTH),
  };
}

module.exports = { Flight };
