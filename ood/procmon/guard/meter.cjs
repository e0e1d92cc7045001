'use strict';
/**
 * What finished requests are counted into: a few additions each, and only the counts travel.
 */

/** Upper bounds of the buckets in milliseconds: those of ood/traffic/histogram.py. */
const BOUNDS = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000];

/** Requests that came one way: with a client's own connection, or over a pipe of ood's. */
class Meter {
  constructor() {
    this.status = [0, 0, 0, 0, 0]; // answers by the first digit of their status, from 1
    this.buckets = new Array(BOUNDS.length + 1).fill(0);
    this.ms = 0;
    this.bytes = 0;
    this.inFlight = 0;
  }

  /**
   * @param {number} status
   * @param {number} ms from the request's head to the answer's end
   * @param {number} bytes of the answer, its head included
   */
  count(status, ms, bytes) {
    this.status[status < 200 ? 0 : status < 300 ? 1 : status < 400 ? 2 : status < 500 ? 3 : 4]++;
    let index = 0;
    while (index < BOUNDS.length && ms > BOUNDS[index]) index++;
    this.buckets[index]++;
    this.ms += ms;
    this.bytes += bytes;
  }

  /** @returns {object} as it is in `stats` */
  numbers() {
    const { status, buckets, bytes, inFlight } = this;
    return { status, buckets, ms: Math.round(this.ms), bytes, inFlight };
  }
}

module.exports = { Meter };
