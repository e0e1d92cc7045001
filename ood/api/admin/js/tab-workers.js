// An app's workers, or the servers it stands for.

import { show, text } from "./dom.js";
import { bytes, duration, ms, number, percent } from "./format.js";
import { empty, grid, stateOf } from "./ui.js";

const STATE = ["State", "", stateOf((one) => one.state, (one) => one.reason)];
const WORKER = [
  ["Worker", "n", (one) => one.instance],
  STATE,
  ["PID", "n less", (one) => one.pid ?? "–"],
  ["Uptime", "n", (one) => (one.pid ? duration(Date.now() - one.since) : "–")],
  ["Deaths", "n less", (one) => one.restarts],
  ["CPU", "n", (one) => percent(one.cpuPercent)],
  ["Memory", "n", (one) => bytes(one.memoryBytes)],
  ["Requests/s", "n", (one) => number(one.requestsPerSecond)],
  ["Errors/s", "n", (one) => number(one.errorsPerSecond)],
  ["p50", "n less", (one) => ms(one.latencyP50Ms)],
  ["p95", "n", (one) => ms(one.latencyP95Ms)],
  ["Lag", "n", (one) => ms(one.loopLagMs)],
  ["Via", "less", (one) => one.via],
];
const UPSTREAM = [
  ["Server", "name", (one) => one.address],
  STATE,
  ["Weight", "n", (one) => (one.backup ? "backup" : one.weight)],
  ["In flight", "n", (one) => one.busy],
  ["Requests", "n", (one) => one.requests],
  ["Failures", "n", (one) => one.failures],
];

export function workersTab(root) {
  const workers = grid("Workers", "", WORKER, (one) => `${one.instance} ${one.pid}`);
  const upstreams = grid("Servers", "", UPSTREAM, (one) => one.address);
  const none = empty();
  root.append(workers.node, upstreams.node, none);
  return {
    draw(app) {
      workers.update(app.workers);
      upstreams.update(app.upstreams);
      text(none, app.running ? "It has no workers: nothing runs for it." : "Nothing of it runs while it is stopped.");
      show(none, !app.workers.length && !app.upstreams.length);
    },
  };
}
