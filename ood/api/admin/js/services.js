// The balancer's services and their servers.

import { ask } from "./api.js";
import { List, h, show, text } from "./dom.js";
import { empty, grid, heading, stateOf } from "./ui.js";

const LOOK_MS = 3000;
const FORWARDERS = { g: "routed", i: "tunnel", m: "NAT" };

const NONE = "The balancer has no service. The command line makes them: ood lb --help";

const total = (word) => (one) => one.statistics?.[word] ?? "–";
const SERVER = [
  ["Server", "name", (one) => one.app || `${one.host}:${one.port}`],
  ["State", "", stateOf((one) => (one.statistics?.up === false ? "down" : one.statistics?.applied ? "online" : "stopped"),
    (one) => (one.statistics?.up === false ? one.statistics.check : ""))],
  ["Forwarded", "", (one) => FORWARDERS[one.forwarder] ?? one.forwarder],
  ["Weight", "n", (one) => one.weight],
  ["Active", "n", total("active")],
  ["Idle", "n", total("inactive")],
  ["Connections", "n", total("connections")],
];

function service({ id }) {
  const servers = grid(`Servers of ${id}`, "", SERVER, (one) => one.id);
  const facts = h("p.doc");
  const none = empty("It has no server.");
  return {
    node: h("section.stack", h("h2", id), facts, servers.node, none),
    update(one) {
      const where = one.type === "fwmark" ? `mark ${one.mark}` : `${one.host}:${one.port}`;
      text(facts, [`${one.type.toUpperCase()} ${where}`, `scheduler ${one.scheduler}`, one.persistence && `persistence ${one.persistence} s`,
        one.check && `${one.check.type} check each ${one.check.interval} s`].filter(Boolean).join(" · "));
      servers.update(one.servers);
      show(none, !one.servers.length);
    },
  };
}

export async function servicesView(root) {
  const list = h("div.stack");
  const none = empty(NONE);
  root.append(heading("Services"), list, none);
  const rows = new List(list, service);
  let timer = 0;
  let closed = false;
  async function load() {
    try {
      const services = await ask("GET", "/services?statistics=true");
      rows.update(services, (one) => one.id);
      text(none, NONE);
      show(none, !services.length);
    } catch (problem) {
      // What is shown stays: it is how it was.
      text(none, [problem.message, problem.hint].filter(Boolean).join(". "));
      show(none, true);
    }
    if (!closed) timer = setTimeout(load, LOOK_MS);
  }
  await load();
  return {
    title: "Services",
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
