'use strict';
/**
 * Counters and heartbeat.
 */

/** The event loop's lag is sampled ten times a second; a delay may be up to this much longer than it shows. */
const SAMPLE_MILLISECONDS = 100;
const SAMPLES_PER_REPORT = 10;
/** Even an idle process says so often that its event loop turns. */
const REPORTS_PER_HEARTBEAT = 5;
/** ood is slow to read: more numbers would only fill the memory. */
const MAX_BACKLOG_BYTES = 64 * 1024;

const { performance, setInterval } = globalThis;

/** Sends `stats`. */
class Stats {
  constructor(join, requests, servers, flight) {
    this.join = join;
    this.flight = flight;
    this.requests = requests;
    this.servers = servers;
    this.samples = 0;
    this.lag = 0; // the longest since the last report that was sent
    this.last = '';
    this.rss = 0;
    this.unsent = 0;
    let before = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      this.sample(now - before - SAMPLE_MILLISECONDS);
      before = requests.now = now;
    }, SAMPLE_MILLISECONDS);
    timer.unref();
  }

  sample(late) {
    if (late > this.lag) this.lag = late;
    if (++this.samples % SAMPLES_PER_REPORT === 0) this.report();
  }

  report() {
    const numbers = this.numbers();
    const text = JSON.stringify(numbers);
    this.unsent++;
    const news = text !== this.last || this.unsent >= REPORTS_PER_HEARTBEAT;
    if (!news || this.join.backlog > MAX_BACKLOG_BYTES) return;
    this.join.send({ ood: 'stats', ...numbers, rss: this.memory(), lag: Math.round(this.lag) });
    this.last = text;
    this.unsent = 0;
    this.lag = 0;
  }

  memory() {
    try {
      this.rss = process.memoryUsage.rss();
    } catch {
      // it reads a file, and the app has used up its descriptors: the last one known will do
    }
    return this.rss;
  }

  numbers() {
    let connections = 0;
    for (const server of this.servers.open) connections += server._connections;
    const { counts, inFlight, handed, piped } = this.requests;
    const numbers = { ...counts, inFlight, connections, handed: handed.numbers(), piped: piped.numbers() };
    const slow = this.flight.slow();
    return slow.length > 0 ? { ...numbers, slow } : numbers;
  }
}

module.exports = { Stats };
