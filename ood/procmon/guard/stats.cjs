'use strict';
/**
 * Counters and heartbeat.
 */
const { monitorEventLoopDelay } = require('perf_hooks');

const STATS_MILLISECONDS = 1000;
/** Even an idle process says so often that its event loop turns. */
const HEARTBEAT_MILLISECONDS = 5000;
/** The lag is sampled natively, ten times a second: what is shorter is seen by chance, what is longer for certain. */
const LAG_SAMPLE_MILLISECONDS = 100;
/** ood is slow to read: more numbers would only fill the memory. */
const MAX_BACKLOG_BYTES = 64 * 1024;

const { setInterval } = globalThis;

/** Sends `stats`. */
class Stats {
  constructor(join, requests, servers) {
    this.join = join;
    this.requests = requests;
    this.servers = servers;
    this.last = '';
    this.quiet = 0;
    this.delay = monitorEventLoopDelay({ resolution: LAG_SAMPLE_MILLISECONDS });
    this.delay.enable();
    setInterval(() => this.tick(), STATS_MILLISECONDS).unref();
  }

  tick() {
    const numbers = this.numbers();
    const now = JSON.stringify(numbers);
    this.quiet += STATS_MILLISECONDS;
    if ((now === this.last && this.quiet < HEARTBEAT_MILLISECONDS) || this.join.backlog > MAX_BACKLOG_BYTES) return;
    this.last = now;
    this.quiet = 0;
    const lag = Math.max(0, Math.round(this.delay.max / 1e6) - LAG_SAMPLE_MILLISECONDS);
    this.delay.reset();
    this.join.send({ ood: 'stats', ...numbers, rss: process.memoryUsage.rss(), lag });
  }

  numbers() {
    let connections = 0;
    for (const server of this.servers.open) connections += server._connections;
    return { ...this.requests.counts, inFlight: this.requests.inFlight, connections };
  }
}

module.exports = { Stats };
