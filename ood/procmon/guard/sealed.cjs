'use strict';
/**
 * Connections whose TLS the kernel does: they read as plain text, and show that they are not.
 */
const http = require('http');

/** On a connection's handle: the kernel does its TLS. */
const kSealed = Symbol('ood.sealed');
const UV_EIO = -5;
const UV_EOF = -4095;

/** What is done for such connections. */
class Sealed {
  constructor(node) {
    this.node = node;
    this.patched = false;
  }

  /** @param {object} handle of a connection that a server is about to get */
  mark(handle) {
    handle[kSealed] = true;
    if (!this.patched) this.patch();
  }

  patch() {
    this.patched = true;
    const sealed = this;
    const { emit } = http.Server.prototype;
    http.Server.prototype.emit = function emitSealed(event, first, ...rest) {
      if (event === 'connection' && isSealed(first)) sealed.show(first);
      return emit.call(this, event, first, ...rest);
    };
  }

  /** Make the app see that the connection is encrypted, and its end as what it is. */
  show(socket) {
    socket.encrypted = true;
    const { streamBaseState, kReadBytesOrError } = this.node;
    const handle = socket._handle;
    const { onread } = handle;
    handle.onread = function onreadSealed(buffer) {
      // the client's end is a record that is no data, which can't be read like data
      if (streamBaseState[kReadBytesOrError] === UV_EIO) streamBaseState[kReadBytesOrError] = UV_EOF;
      return onread.call(this, buffer);
    };
  }
}

/** @returns {boolean} whether the kernel does the socket's TLS */
function isSealed(socket) {
  const handle = socket ? socket._handle : null;
  return handle !== null && handle !== undefined && handle[kSealed] === true;
}

module.exports = { Sealed, isSealed };
