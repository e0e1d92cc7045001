'use strict';
/**
 * The internals of Node that the guard stands on, checked in one place.
 *
 * A Node in which one is missing must not be touched: `load` throws {@link Unfit}, ood hears of it and runs the app
 * through Node's own cluster protocol instead.
 */
const net = require('net');

/** This Node lacks something that the guard needs. */
class Unfit extends Error {}

/**
 * @param {boolean} there whether the thing is as the guard needs it
 * @param {string} what its name
 */
function need(there, what) {
  if (!there) throw new Unfit(`${process.version} has no usable ${what}`);
}

/**
 * `process.binding` without its deprecation warning, which would land in the app's stderr.
 *
 * @param {string[]} names
 * @returns {object[]}
 */
function bindings(names) {
  const before = Object.getOwnPropertyDescriptor(process, 'noDeprecation');
  process.noDeprecation = true;
  try {
    return names.map((name) => process.binding(name));
  } catch (error) {
    throw new Unfit(`process.binding is refused (${error.code || error.message})`);
  } finally {
    if (before === undefined) delete process.noDeprecation;
    else Object.defineProperty(process, 'noDeprecation', before);
  }
}

/**
 * @returns {object} `Pipe`, `PipeConnectWrap`, `TCP`, `WriteWrap`, the numbers that go with them, and net's `listen`
 */
function load() {
  const [pipe, tcp, stream] = bindings(['pipe_wrap', 'tcp_wrap', 'stream_wrap']);
  const { Pipe, PipeConnectWrap } = pipe;
  const { TCP } = tcp;
  const { WriteWrap, streamBaseState, kReadBytesOrError, kArrayBufferOffset, kLastWriteWasAsync } = stream;
  for (const [name, method] of Object.entries({ Pipe, PipeConnectWrap, TCP, WriteWrap })) {
    need(typeof method === 'function', name);
  }
  for (const name of ['connect', 'readStart', 'readStop', 'writeUtf8String', 'close', 'ref', 'unref']) {
    need(typeof Pipe.prototype[name] === 'function', `Pipe.${name}`);
  }
  need(pipe.constants && pipe.constants.IPC !== undefined, 'Pipe for descriptors');
  need(tcp.constants && tcp.constants.SERVER !== undefined, 'TCP server handle');
  need(streamBaseState && kReadBytesOrError >= 0 && kArrayBufferOffset >= 0 && kLastWriteWasAsync >= 0, 'stream state');
  const { listen, _listen2 } = net.Server.prototype;
  need(typeof listen === 'function' && typeof _listen2 === 'function', 'net.Server._listen2');
  need(typeof net._normalizeArgs === 'function', 'net._normalizeArgs');
  return {
    Pipe, PipeConnectWrap, TCP, WriteWrap, streamBaseState, kReadBytesOrError, kArrayBufferOffset, kLastWriteWasAsync,
    PIPE_IPC: pipe.constants.IPC, TCP_SERVER: tcp.constants.SERVER, listen,
  };
}

module.exports = { Unfit, load };
