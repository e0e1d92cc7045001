'use strict';
/**
 * The pipe to ood: one JSON object a line both ways, and client connections as two bytes with a descriptor.
 */

/** Acknowledgements are collected this long: a write for each connection would cost the worker a fifth of its time. */
const ACK_MILLISECONDS = 5;
/** ood's backlog may be full for a moment when many workers start together. */
const CONNECT_TRIES = 40;
const CONNECT_RETRY_MILLISECONDS = 50;
/** A message has at most 64 KiB; a longer one means that the stream is out of step. */
const MESSAGE_BYTES = 64 * 1024;

const CONNECTION = 67; // 'C'
const SEALED = 84; // 'T': the kernel does its TLS
const ID_OFFSET = 64;
const NEWLINE = 10;
const EAGAIN = -11;
const EPIPE = -32;

// Apps may replace the global timers (fake clocks); the protocol must go on.
const { setTimeout } = globalThis;
const noop = () => {};

/** One membership in an app. */
class Join {
  /**
   * @param {object} node what `internals.load` returned
   * @param {string} path ood's socket
   * @param {object} events `connection(id, handle, sealed)` returns whether a server took it; `message(object)`; `lost(why)`
   */
  constructor(node, path, events) {
    this.node = node;
    this.path = path;
    this.events = events;
    this.pipe = null;
    this.outbox = []; // until the pipe is connected
    this.over = false;
    this.users = 0;
    this.taken = 0;
    this.ackDue = false;
    this.rest = null;
    this.handles = [];
    this.dropped = false; // the connection of which one byte was read came without its descriptor
    this.connect(1);
  }

  connect(attempt) {
    const pipe = new this.node.Pipe(this.node.PIPE_IPC);
    const request = new this.node.PipeConnectWrap();
    request.oncomplete = (status) => {
      if (status === 0) this.connected(pipe);
      else this.refused(pipe, status, attempt);
    };
    const error = pipe.connect(request, this.path);
    if (error) process.nextTick(() => this.refused(pipe, error, attempt));
  }

  refused(pipe, status, attempt) {
    pipe.close();
    if (status === EAGAIN && attempt < CONNECT_TRIES) {
      setTimeout(() => this.connect(attempt + 1), CONNECT_RETRY_MILLISECONDS);
    } else {
      this.fail(`cannot join ${this.path} (${errorName(status)})`);
    }
  }

  connected(pipe) {
    this.pipe = pipe;
    pipe.pendingHandle = null;
    const { streamBaseState, kReadBytesOrError, kArrayBufferOffset } = this.node;
    const self = this;
    pipe.onread = function onread(buffer) {
      const handle = pipe.pendingHandle;
      pipe.pendingHandle = null;
      if (buffer === undefined) return self.fail('');
      const bytes = Buffer.from(buffer, streamBaseState[kArrayBufferOffset], streamBaseState[kReadBytesOrError]);
      return self.read(bytes, handle);
    };
    if (this.users === 0) pipe.unref();
    pipe.readStart();
    for (const message of this.outbox.splice(0)) this.sendText(message);
  }

  fail(why) {
    if (this.over) return;
    this.over = true;
    const pipe = this.pipe;
    this.pipe = null;
    if (pipe !== null) pipe.close();
    this.events.lost(why);
  }

  /** Keep the process alive as a listening server does. */
  ref() {
    if (++this.users === 1 && this.pipe !== null) this.pipe.ref();
  }

  unref() {
    if (--this.users === 0 && this.pipe !== null) this.pipe.unref();
  }

  /**
   * @param {object} message
   * @param {object} [handle] goes along with it, and may be closed when `done` is called, not earlier: libuv aborts
   *   the process if a handle is closed that an asynchronous write still has to send
   * @param {(error: number) => void} [done]
   */
  send(message, handle, done) {
    this.sendText(JSON.stringify(message), handle, done);
  }

  /** Send a message that is JSON already; see `send`. */
  sendText(message, handle, done) {
    if (this.pipe === null) {
      if (done !== undefined) process.nextTick(done, EPIPE);
      else if (!this.over) this.outbox.push(message);
      return;
    }
    const request = new this.node.WriteWrap();
    request.oncomplete = done === undefined ? noop : (status) => done(status);
    const text = `${message}\n`;
    const error =
      handle === undefined ? this.pipe.writeUtf8String(request, text) : this.pipe.writeUtf8String(request, text, handle);
    const asynchronous = this.node.streamBaseState[this.node.kLastWriteWasAsync];
    if (done !== undefined && (error || !asynchronous)) process.nextTick(done, error);
  }

  /** @returns {number} bytes that ood has not read yet, as far as they had to be queued here */
  get backlog() {
    return this.pipe === null ? 0 : this.pipe.writeQueueSize;
  }

  read(bytes, handle) {
    if (handle !== null && this.rest === null && bytes.length === 2 && isConnection(bytes)) {
      this.connection(bytes, handle); // nearly always: one connection in one read
      return;
    }
    if (handle !== null) this.handles.push(handle);
    this.rest = this.rest === null ? bytes : Buffer.concat([this.rest, bytes]);
    while (this.rest !== null && !this.over && this.step(this.rest));
    if (this.rest !== null && this.rest.length > MESSAGE_BYTES) this.fail('a message is too long');
  }

  /**
   * Deal with the first thing in `bytes`, having removed it: the app may throw in what follows, and go on.
   *
   * @returns {boolean} whether it was complete
   */
  step(bytes) {
    if (isConnection(bytes)) {
      if (bytes.length < 2) {
        this.dropped = this.handles.length === 0;
        return false;
      }
      this.keep(bytes, 2);
      // A descriptor is read with its first byte, or not at all: this process may have none left.
      const handle = this.dropped ? undefined : this.handles.shift();
      this.dropped = false;
      this.connection(bytes, handle);
      return true;
    }
    const end = bytes.indexOf(NEWLINE);
    if (end < 0) return false;
    this.keep(bytes, end + 1);
    this.message(bytes.toString('utf8', 0, end));
    return true;
  }

  keep(bytes, from) {
    this.rest = from === bytes.length ? null : bytes.subarray(from);
  }

  message(line) {
    let message;
    try {
      message = JSON.parse(line);
    } catch {
      this.fail('a message is not JSON');
      return;
    }
    this.events.message(message);
  }

  connection(bytes, handle) {
    this.taken++;
    if (!this.ackDue) {
      this.ackDue = true;
      setTimeout(() => this.ack(), ACK_MILLISECONDS);
    }
    if (handle === undefined) {
      this.send({ ood: 'nack', n: this.taken, full: true });
    } else if (!this.events.connection(bytes[1] - ID_OFFSET, handle, bytes[0] === SEALED)) {
      this.send({ ood: 'nack', n: this.taken });
      handle.close();
    }
  }

  ack() {
    this.ackDue = false;
    this.send({ ood: 'ack', n: this.taken });
  }
}

/** @returns {boolean} whether `bytes` begin with a connection, not with a message */
function isConnection(bytes) {
  return bytes[0] === CONNECTION || bytes[0] === SEALED;
}

/** @returns {string} such as ECONNREFUSED */
function errorName(status) {
  const entry = require('util').getSystemErrorMap().get(status);
  return entry === undefined ? `error ${status}` : entry[0];
}

module.exports = { Join };
