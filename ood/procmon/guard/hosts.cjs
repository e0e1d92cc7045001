'use strict';
/**
 * Which requests are this app's, by the names that ood told.
 */

/** Verdicts are kept by the exact Host value; a client that makes up names must not fill the memory. */
const CACHE_ENTRIES = 1000;
const CACHE_KEY_LENGTH = 260;

/** Who this app is. */
class Hosts {
  constructor() {
    this.all = true; // until ood said more
    this.every = false; // ood must see every request
    this.public = new Set();
    this.cache = new Map();
    this.last = null; // the value seen last: nearly always the next one, too
  }

  /** @param {{own: string[], foreign: string[], default: boolean, port: number, every: boolean, public: number[]}} message */
  update(message) {
    this.all = false;
    this.every = message.every === true;
    this.public = new Set(message.public);
    this.own = setOf(message.own);
    this.foreign = setOf(message.foreign);
    this.byDefault = message.default === true;
    this.port = message.port;
    this.cache.clear();
    this.last = null;
  }

  /**
   * @param {string | undefined} host a Host header's value
   * @param {object} socket that it came in on
   * @returns {boolean}
   */
  belongs(host, socket) {
    if (this.all || (host !== undefined && host === this.last)) return true;
    if (host === undefined) return !this.every; // HTTP/1.0: ood has chosen
    if (this.every) return this.isFurther(socket);
    let verdict = this.cache.get(host);
    if (verdict === undefined) {
      verdict = this.judge(host);
      if (this.cache.size >= CACHE_ENTRIES) this.cache.clear();
      if (host.length <= CACHE_KEY_LENGTH) this.cache.set(host, verdict);
    }
    if (verdict) {
      this.last = host;
      return true;
    }
    return (this.port > 0 && socket.localPort === this.port) || this.isFurther(socket);
  }

  /** @returns {boolean} whether it came in on a further port of the app, where only the app's own requests come */
  isFurther(socket) {
    const port = socket.localPort;
    if (port === this.port || this.public.has(port) || !socket.server) return false;
    const address = socket.server.address();
    return address !== null && address.port === port;
  }

  /** The name that says most decides, as in ood's own routes: an exact one, else the longest wildcard. */
  judge(host) {
    const name = nameOf(host);
    if (this.own.has(name)) return true;
    if (this.foreign.has(name)) return false;
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const wildcard = `*${name.slice(dot)}`;
      if (this.own.has(wildcard)) return true;
      if (this.foreign.has(wildcard)) return false;
    }
    return this.byDefault;
  }
}

/** @returns {Set<string>} the names in lower case; some have `*.` in front */
function setOf(names) {
  return new Set((names || []).map((name) => name.toLowerCase()));
}

/** @returns {string} the name in a Host value, without port and final dot */
function nameOf(host) {
  const value = host.toLowerCase();
  const end = value[0] === '[' ? value.indexOf(']') + 1 : value.indexOf(':');
  const name = end > 0 ? value.slice(0, end) : value;
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

/**
 * @param {object} request
 * @returns {string | undefined} the host it is for: an absolute target wins over the header
 */
function hostOf(request) {
  const { url } = request;
  if (url.charCodeAt(0) !== 47 && request.method !== 'CONNECT') {
    const match = /^https?:\/\/(?:[^/?#@]*@)?([^/?#@]+)/i.exec(url);
    if (match !== null) return match[1];
  }
  return request.headers.host;
}

module.exports = { Hosts, hostOf };
