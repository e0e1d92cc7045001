'use strict';
/**
 * A small ood for the guard's tests: it speaks docs/join-protocol.md from the other side, on a port and sockets of
 * its own, and runs apps with the guard preloaded.
 */
const { spawn } = require('child_process');
const events = require('events');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');

const noDeprecation = process.noDeprecation;
process.noDeprecation = true;
const { Pipe, constants } = process.binding('pipe_wrap');
const { WriteWrap, streamBaseState, kReadBytesOrError, kArrayBufferOffset, kLastWriteWasAsync } =
  process.binding('stream_wrap');
process.noDeprecation = noDeprecation;

const GUARD = path.resolve(__dirname, '../../ood/procmon/guard/guard.cjs');
/** No test waits longer for anything: a failure, not a measurement. */
const PATIENCE_MILLISECONDS = 60000;

/** Handles whose descriptor a pipe took over: collected, they would close a number that is another's by then. */
const abandoned = [];

/** One process that joined. */
class Member extends events.EventEmitter {
  constructor(socket) {
    super();
    abandoned.push(socket);
    this.pipe = new Pipe(constants.IPC);
    this.pipe.open(socket._handle.fd);
    this.messages = [];
    this.returned = []; // handles that came with `back`
    this.given = 0;
    this.text = '';
    this.ended = false;
    this.pipe.pendingHandle = null;
    this.pipe.onread = (buffer) => this.read(buffer);
    this.pipe.readStart();
  }

  read(buffer) {
    const handle = this.pipe.pendingHandle;
    this.pipe.pendingHandle = null;
    if (buffer === undefined) {
      this.close();
      this.emit('change');
      return;
    }
    const bytes = Buffer.from(buffer, streamBaseState[kArrayBufferOffset], streamBaseState[kReadBytesOrError]);
    this.text += bytes.toString();
    if (handle) this.returned.push(handle);
    const lines = this.text.split('\n');
    this.text = lines.pop();
    for (const line of lines) {
      this.messages.push(JSON.parse(line));
      this.emit('message', this.messages[this.messages.length - 1], handle);
    }
    this.emit('change');
  }

  close() {
    if (!this.ended) this.pipe.close();
    this.ended = true;
  }

  /** Write text, a handle going with its last byte. */
  write(text, handle) {
    const request = new WriteWrap();
    const done = () => handle && handle.close();
    request.oncomplete = done;
    const error = handle
      ? this.pipe.writeLatin1String(request, text, handle)
      : this.pipe.writeLatin1String(request, text);
    if (error || !streamBaseState[kLastWriteWasAsync]) setImmediate(done);
  }

  tell(message) {
    this.write(`${JSON.stringify(message)}\n`);
  }

  /** Hand a connection over; returns its number. */
  give(id, handle) {
    this.write(`C${String.fromCharCode(64 + id)}`, handle);
    return ++this.given;
  }

  /** Wait until `condition(member)` is true, or return what it returned. */
  async until(condition, what = condition.toString()) {
    return within(PATIENCE_MILLISECONDS, what, this, () => condition(this));
  }

  /** Wait for the `nth` message of a kind. */
  async message(kind, nth = 1) {
    return this.until((m) => m.messages.filter((message) => message.ood === kind)[nth - 1], `message ${kind}`);
  }

  count(kind) {
    return this.messages.filter((message) => message.ood === kind).length;
  }
}

/** The app's process as the test started it. */
class App extends events.EventEmitter {
  constructor(child) {
    super();
    this.child = child;
    this.out = '';
    this.err = '';
    this.status = null;
    child.stdout.on('data', (data) => this.heard('out', data));
    child.stderr.on('data', (data) => this.heard('err', data));
    child.on('close', (code, signal) => {
      this.status = { code, signal };
      this.emit('change');
    });
  }

  heard(stream, data) {
    this[stream] += data;
    this.emit('change');
  }

  async says(pattern) {
    return within(PATIENCE_MILLISECONDS, `${pattern} in the output`, this, () => this.out.match(pattern));
  }

  async exit() {
    return within(PATIENCE_MILLISECONDS, 'the end of the app', this, () => this.status);
  }
}

/** ood, as far as a guard can tell. */
class FakeOod extends events.EventEmitter {
  constructor() {
    super();
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'guard-'));
    this.joinPath = path.join(this.directory, 'join');
    this.backPath = path.join(this.directory, 'back');
    this.members = [];
    this.apps = [];
    this.accepted = []; // handles of clients, nothing read from them
    this.files = 0;
    this.hosts = null; // sent to each member after hello
  }

  static async start(t, hosts = null) {
    const ood = new FakeOod();
    ood.hosts = hosts;
    ood.joiner = net.createServer({ pauseOnConnect: true }, (socket) => ood.joined(socket)).listen(ood.joinPath);
    ood.front = net.createServer({ pauseOnConnect: true }, (socket) => {
      ood.accepted.push(socket._handle);
      abandoned.push(socket);
      ood.emit('change');
    });
    ood.front.listen(0, '127.0.0.1');
    await Promise.all([events.once(ood.joiner, 'listening'), events.once(ood.front, 'listening')]);
    t.after(() => ood.stop());
    return ood;
  }

  joined(socket) {
    const member = new Member(socket);
    this.members.push(member);
    member.on('change', () => this.emit('change'));
    if (this.hosts !== null) member.tell({ ood: 'hosts', ...this.hosts });
    this.emit('change');
  }

  async stop() {
    for (const app of this.apps) if (app.status === null) process.kill(-app.child.pid, 'SIGKILL');
    await Promise.all(this.apps.map((app) => app.exit()));
    for (const member of this.members) {
      member.close();
      for (const handle of member.returned) handle.close(); // or the clients' sockets would keep the tests alive
    }
    this.joiner.close();
    this.front.close();
    for (const handle of this.accepted) handle.close();
    fs.rmSync(this.directory, { recursive: true, force: true });
  }

  /** Write a file for an app and return its path. */
  file(source, name = `app${this.files++}.cjs`) {
    const file = path.join(this.directory, name);
    fs.writeFileSync(file, source);
    return file;
  }

  environment(extra) {
    const env = { ...process.env, OOD_APP: 'test', OOD_JOIN: this.joinPath, OOD_BACK: this.backPath };
    delete env.NODE_TEST_CONTEXT;
    delete env.NODE_CHANNEL_FD;
    return { ...env, OOD_TOKEN: 'token', PORT: '3000', NODE_OPTIONS: `--require ${GUARD}`, ...extra };
  }

  /** Run an app; options: env, args (of node), command, ipc. */
  run(source, options = {}) {
    const [command, ...args] = options.command || [process.execPath, ...(options.args || []), this.file(source)];
    const stdio = ['ignore', 'pipe', 'pipe', ...(options.ipc ? ['ipc'] : [])];
    const settings = { env: this.environment(options.env), stdio, cwd: this.directory, detached: true };
    const app = new App(spawn(command, args, settings));
    this.apps.push(app);
    return app;
  }

  /** Never let go of a socket whose handle is given away. */
  keep(socket) {
    abandoned.push(socket);
  }

  async until(condition, what = condition.toString()) {
    return within(PATIENCE_MILLISECONDS, what, this, () => condition(this));
  }

  /** Wait for the `nth` process that joins. */
  async member(nth = 1) {
    return this.until((ood) => ood.members[nth - 1], 'a join');
  }

  /** Run an app and wait until its server listens. */
  async serve(source, options) {
    const nth = this.members.length + 1;
    const app = this.run(source, options);
    const member = await this.until((ood) => ood.members[nth - 1] || (app.status && { app }), 'a join');
    if (member.app) throw new Error(`the app ended: ${app.err}`);
    await member.message('listening');
    return { app, member };
  }

  /** Open a client's connection; the server's side of it lies in `accepted` until it is given away. */
  async client() {
    const socket = net.connect(this.front.address().port, '127.0.0.1');
    await events.once(socket, 'connect');
    const handle = await this.until((ood) => ood.accepted.shift(), 'the accepted connection');
    return { socket, handle, reader: new Reader(socket) };
  }

  /** Open a client's connection and hand it to a member. */
  async visit(member, id = 0) {
    const client = await this.client();
    client.number = member.give(id, client.handle);
    return client;
  }
}

/** Collects what a socket receives. */
class Reader extends events.EventEmitter {
  constructor(socket) {
    super();
    this.text = '';
    this.closed = false;
    socket.on('data', (data) => {
      this.text += data.toString('latin1');
      this.emit('change');
    });
    socket.on('error', (error) => {
      this.error = error;
    });
    socket.on('close', () => {
      this.closed = true;
      this.emit('change');
    });
  }

  async until(condition, what = condition.toString()) {
    return within(PATIENCE_MILLISECONDS, () => `${what}; got ${JSON.stringify(this.text)}`, this, () => condition(this));
  }

  /** Wait for one answer and take it out. */
  async answer() {
    return this.until(() => {
      const answer = parse(this.text);
      if (answer !== null) this.text = this.text.slice(answer.end);
      return answer;
    }, 'an answer');
  }
}

/** Parse the answer that a text begins with; null if it is not whole. */
function parse(text) {
  const match = /^HTTP\/1\.1 (\d+)[^]*?\r\n\r\n/.exec(text);
  if (match === null) return null;
  const [head, status] = match;
  const content = /transfer-encoding: chunked/i.test(head) ? chunked(text, head.length) : plain(text, head);
  return content && { status: Number(status), head, ...content };
}

function plain(text, head) {
  const length = /content-length: (\d+)/i.exec(head);
  const end = head.length + (length ? Number(length[1]) : 0);
  return text.length < end ? null : { body: text.slice(head.length, end), end };
}

function chunked(text, from) {
  let body = '';
  for (let at = from; ; ) {
    const line = text.indexOf('\r\n', at);
    if (line < 0) return null;
    const size = parseInt(text.slice(at, line), 16);
    at = line + 2 + size + 2;
    if (text.length < at) return null;
    if (size === 0) return { body, end: at };
    body += text.slice(line + 2, line + 2 + size);
  }
}

function within(limit, what, emitter, condition) {
  const first = condition();
  if (first) return Promise.resolve(first);
  return new Promise((resolve, reject) => {
    const finish = (settle, value) => {
      clearTimeout(timer);
      emitter.off('change', look);
      settle(value);
    };
    const timer = setTimeout(() => {
      const text = typeof what === 'function' ? what() : what;
      finish(reject, new Error(`waited in vain for ${text}`));
    }, limit);
    const look = () => {
      const value = condition();
      if (value) finish(resolve, value);
    };
    emitter.on('change', look);
  });
}

const HELLO = `require('http').createServer((q, r) => r.end(q.url)).listen(3000);`;

/** @returns {string} a request's text */
function get(url, host = 'a.test', headers = '') {
  return `GET ${url} HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n`;
}

const ports = (process.env.OOD_TEST_PORTS || '').split(',').filter(Boolean).map(Number);

/** A port for a server that is really bound: below the ephemeral ones, and nobody else's if tests.test_guard runs this. */
function somePort() {
  return ports.shift() || 10000 + Math.floor(Math.random() * 20000);
}

module.exports = { FakeOod, Reader, GUARD, HELLO, get, somePort };
