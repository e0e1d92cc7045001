// An app's workers, or the servers it stands for.

import { List, attribute, show, h, text } from "./dom.js";
import { bytes, duration, ms, number, percent } from "./format.js";
import { badge, cell, empty, row, table } from "./ui.js";

const WORKER = [["Worker", "n"], ["State", ""], ["PID", "n"], ["Uptime", "n"], ["Deaths", "n"], ["CPU", "n"], ["Memory", "n"],
  ["Requests/s", "n"], ["Errors/s", "n"], ["p50", "n"], ["p95", "n"], ["Lag", "n"], ["Via", ""]];
const UPSTREAM = [["Server", "name"], ["State", ""], ["Weight", "n"], ["In flight", "n"], ["Requests", "n"], ["Failures", "n"]];

const shownWorker = (one) => [one.instance, null, one.pid ?? "–", one.pid ? duration(Date.now() - one.since) : "–", one.restarts,
  percent(one.cpuPercent), bytes(one.memoryBytes), number(one.requestsPerSecond), number(one.errorsPerSecond),
  ms(one.latencyP50Ms), ms(one.latencyP95Ms), ms(one.loopLagMs), one.via];
const shownUpstream = (one) => [one.address, null, one.backup ? "backup" : one.weight, one.busy, one.requests, one.failures];

function part(columns, shown) {
  return () => {
    const state = badge("stopped");
    const reason = h("small", { class: "reason" });
    const values = columns.map(([label]) => (label === "State" ? h("span", {}, state.node, reason) : h("span", {})));
    const node = row({}, columns.map(([label, kind], at) => cell(label, kind, values[at])));
    return {
      node,
      update(one) {
        state.set(one.state);
        text(reason, one.reason);
        attribute(node, "class", one.state === "online" ? null : "off");
        shown(one).forEach((value, at) => value !== null && text(values[at], value));
      },
    };
  };
}

export function workersTab(root) {
  const workers = table("Workers", WORKER, { class: "cards" });
  const upstreams = table("Servers", UPSTREAM, { class: "cards" });
  const none = empty("There are none while it is stopped.");
  const workerRows = new List(workers.body, part(WORKER, shownWorker));
  const upstreamRows = new List(upstreams.body, part(UPSTREAM, shownUpstream));
  root.append(workers.node, upstreams.node, none);
  return {
    draw(app) {
      workerRows.update(app.workers, (one) => `${one.instance} ${one.pid}`);
      upstreamRows.update(app.upstreams, (one) => one.address);
      show(workers.node, app.workers.length);
      show(upstreams.node, app.upstreams.length);
      show(none, !app.workers.length && !app.upstreams.length);
    },
  };
}
