'use strict';
/**
 * A process that takes part in an app: what ood tells it to do, and what it tells ood.
 */
const { Join } = require('./join.cjs');
const { Hosts } = require('./hosts.cjs');
const { Requests } = require('./requests.cjs');
const { Drain } = require('./drain.cjs');
const { Stats } = require('./stats.cjs');
const { Flight } = require('./flight.cjs');
const { Sealed } = require('./sealed.cjs');
const { Strangers } = require('./stranger.cjs');
const { lose } = require('./farewell.cjs');
const { forked } = require('./forked.cjs');

const PROTOCOL_VERSION = 1;

/** This process's membership. */
class Member {
  constructor(node, servers, env) {
    this.node = node;
    this.servers = servers;
    this.hosts = new Hosts();
    this.requests = new Requests(node, servers, this.hosts, new Strangers(env.OOD_BACK));
    this.join = new Join(node, env.OOD_JOIN, {
      connection: (id, handle, sealed) => this.connection(id, handle, sealed),
      message: (message) => this.message(message),
      lost: (why) => lose(why, this),
    });
    this.sealed = new Sealed(node);
    this.drain = new Drain(node, servers, this.requests, this.join);
    this.join.send({ ood: 'hello', v: PROTOCOL_VERSION, token: env.OOD_TOKEN, pid: process.pid, node: process.version });
    this.flight = new Flight(servers, this.requests, env);
    this.stats = new Stats(this.join, this.requests, servers, this.flight);
    this.access = null;
    this.cluster = process.connected === true ? forked(servers) : null;
  }

  connection(id, handle, sealed) {
    if (handle instanceof this.node.Pipe) this.requests.trust(handle);
    else if (sealed) this.sealed.mark(handle);
    return this.servers.connection(id, handle);
  }

  message(message) {
    switch (message.ood) {
      case 'hosts':
        this.hosts.update(message);
        this.writeDown(message.log === true);
        break;
      case 'drain':
        this.drain.start();
        break;
      case 'leave':
      this.stats.report();
        if (this.requests.access !== null) this.requests.access.flush();
        this.drain.leave();
        break;
      case 'watch':
      this.flight.watch(message.on === true);
        break;
      case 'shutdown':
        if (!process.connected) process.emit('message', 'shutdown');
        break;
      default: // a newer ood may say more
    }
  }

  /** @param {boolean} wanted whether ood is told of each finished request */
  writeDown(wanted) {
    const { requests } = this;
    if (wanted === (requests.access !== null)) return;
    if (wanted && this.access === null) this.access = new (require('./access.cjs').Access)(this.join);
    requests.access = wanted ? this.access : null;
    if (!wanted) this.access.flush();
  }

  /** @param {object} entry a server that listens now */
  listening(entry) {
    const { id, port, host, server } = entry;
    this.requests.watch(server);
    this.drain.watch(server);
    if (this.cluster !== null) this.cluster.listening(entry);
    const tls = typeof server.setSecureContext === 'function';
    this.join.send({ ood: 'listening', id, port, host, tls, http: this.requests.speaksHttp(server) });
  }

  /** @param {object} entry a server that listens no more */
  closed(entry) {
    this.join.send({ ood: 'close', id: entry.id });
  }

  /** The app said that it is ready. */
  ready() {
    this.join.send({ ood: 'ready' });
  }
}

module.exports = { join: (node, servers, env) => new Member(node, servers, env) };
