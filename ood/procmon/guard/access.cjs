'use strict';
/**
 * Finished requests for the access log, told to ood in batches; loaded only where there is such a log.
 */

/** A reader of the log waits this long at most; ood itself writes once a second. */
const FLUSH_MILLISECONDS = 250;
/** A batch in characters; with all beyond ASCII it is still no longer than a message may be, 64 KiB. */
const BATCH_LENGTH = 24 * 1024;
/** ood is slow to read: what comes then is only counted. */
const MAX_BACKLOG_BYTES = 256 * 1024;
/** Longer values are cut: an access log is no place for whole documents. */
const MAX_TARGET = 2048;
const MAX_REFERER = 1024;
const MAX_VALUE = 512;

const { setTimeout } = globalThis;

/** The batch that is being collected. */
class Access {
  constructor(join) {
    this.join = join;
    this.lines = [];
    this.length = 0;
    this.lost = 0;
    this.due = false;
    process.once('exit', () => this.flush());
  }

  /**
   * @param {object} request
   * @param {object} socket that it came in on
   * @param {number} status
   * @param {number} bytes of the answer's body
   * @param {number} ms
   */
  note(request, socket, status, bytes, ms) {
    if (this.join.backlog > MAX_BACKLOG_BYTES) {
      this.lost++;
      return;
    }
    const { headers } = request;
    const line = JSON.stringify([
      Date.now(), socket.remoteAddress || '', request.method, cut(request.url, MAX_TARGET), request.httpVersion, status,
      bytes, Math.round(ms * 1000) / 1000, cut(headers.referer, MAX_REFERER), cut(headers['user-agent'], MAX_VALUE),
      cut(headers.host, MAX_VALUE), cut(headers['x-request-id'], MAX_VALUE),
    ]);
    this.lines.push(line);
    this.length += line.length;
    if (this.length > BATCH_LENGTH) this.flush();
    else if (!this.due) this.later();
  }

  later() {
    this.due = true;
    setTimeout(() => {
      this.due = false;
      this.flush();
    }, FLUSH_MILLISECONDS).unref();
  }

  flush() {
    if (this.lines.length === 0 && this.lost === 0) return;
    this.join.sendText(`{"ood":"access","lost":${this.lost},"lines":[${this.lines.join(',')}]}`);
    this.lines = [];
    this.length = 0;
    this.lost = 0;
  }
}

function cut(value, length) {
  if (value === undefined) return '';
  return value.length > length ? `${value.slice(0, length)}...` : value;
}

module.exports = { Access };
