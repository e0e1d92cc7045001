// The balancer's services and their servers.

import { ask } from "./api.js";
import { List, h, show, text } from "./dom.js";
import { complain, cell, empty, heading, row, table } from "./ui.js";

const LOOK_MS = 3000;
const FORWARDERS = { g: "routed", i: "tunnel", m: "masquerading" };

const total = (of, word) => of?.[word] ?? "–";

function service({ id }) {
  const servers = table(`Servers of ${id}`, [["Server", "name"], ["Forwarded", ""], ["Weight", "n"], ["Active", "n"], ["Idle", "n"], ["Connections", "n"]],
    { class: "cards" });
  const facts = h("p", { class: "doc" });
  const none = empty("It has no server.");
  const rows = new List(servers.body, () => {
    const values = Array.from({ length: 6 }, () => h("span", {}));
    return {
      node: row({}, ["Server", "Forwarded", "Weight", "Active", "Idle", "Connections"].map((label, at) =>
        cell(label, at > 1 ? "n" : at ? "" : "name", values[at]))),
      update(one) {
        const of = one.statistics;
        [one.app || `${one.host}:${one.port}`, FORWARDERS[one.forwarder] ?? one.forwarder, one.weight,
          total(of, "active"), total(of, "inactive"), total(of, "connections")]
          .forEach((value, at) => text(values[at], value));
      },
    };
  });
  return {
    node: h("section", { class: "stack" }, h("h2", {}, id), facts, servers.node, none),
    update(one) {
      const where = one.type === "fwmark" ? `mark ${one.mark}` : `${one.host}:${one.port}`;
      text(facts, [`${one.type.toUpperCase()} ${where}`, `scheduler ${one.scheduler}`, one.persistence && `persistence ${one.persistence} s`,
        one.check && `${one.check.type} check each ${one.check.interval} s`].filter(Boolean).join(" · "));
      rows.update(one.servers, (each) => each.id);
      show(servers.node, one.servers.length);
      show(none, !one.servers.length);
    },
  };
}

export async function servicesView(root) {
  const list = h("div", { class: "stack" });
  const none = empty("The balancer has no service. The command line makes them: ood lb --help");
  root.append(heading("Services"), list, none);
  const rows = new List(list, service);
  let timer = 0;
  let closed = false;
  async function load() {
    let some = true;
    try {
      const services = await ask("GET", "/services?statistics=true");
      some = services.length > 0;
      rows.update(services, (one) => one.id);
      show(none, !some);
    } catch (problem) {
      complain(problem);
      some = false;
    }
    if (!closed && some) timer = setTimeout(load, LOOK_MS);
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
