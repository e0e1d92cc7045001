'use strict';
/**
 * A worker that the app forked by itself with Node's cluster: its primary goes on hearing of it what it would without
 * the guard.
 */

/** What a cluster worker owes its primary. */
class Forked {
  constructor(servers) {
    // `disconnect()` closes a worker's servers first; Node does not know of these.
    process.once('disconnect', () => {
      for (const entry of servers.byId) if (entry !== null) entry.server.close();
    });
  }

  /** @param {object} entry a server that listens now: the primary emits 'listening' */
  listening({ address, family, port }) {
    if (!process.connected) return;
    const addressType = family === 'IPv6' ? 6 : 4;
    process.send({ cmd: 'NODE_CLUSTER', act: 'listening', address, port, addressType }, undefined, {}, () => {});
  }
}

/**
 * @param {object} servers
 * @returns {Forked | null} null if this process is no cluster worker
 */
function forked(servers) {
  return require('cluster').isWorker ? new Forked(servers) : null;
}

module.exports = { forked };
