// All apps, what is not as wanted, and what happened last.

import * as actions from "./actions.js";
import { spark } from "./charts.js";
import { List, attribute, h, icon, show, text } from "./dom.js";
import { feed } from "./events.js";
import { bytes, count, ms, number, percent } from "./format.js";
import { apps, link, series, sorted } from "./live.js";
import { badge, button, cell, heading, iconButton, row, table } from "./ui.js";

export const appLink = (name, tab = "") => `#/apps/${encodeURIComponent(name)}${tab && `/${tab}`}`;

/** What is not as wanted in an app: `[text, what to do, where]` each. */
export function troubles(app) {
  const found = [];
  if (app.running && ["errored", "waiting-restart"].includes(app.state)) {
    const reason = [...app.workers, ...app.upstreams].find((one) => one.reason)?.reason;
    found.push([`${app.state.replace("-", " ")}${reason ? `: ${reason}` : ""}`,
      app.type === "proxy" ? "See its servers" : "See why", appLink(app.name, app.type === "proxy" ? "workers" : "deaths"), "bad"]);
  } else if (app.running && app.sum.online < app.sum.wanted && app.state !== "launching" && !actions.work.has(app.name)) {
    found.push([`${app.sum.online} of ${count(app.sum.wanted, app.sum.parts)} online`,
      "See them", appLink(app.name, "workers"), "warn"]);
  }
  for (const one of app.trouble) found.push([one, "See its settings", appLink(app.name, "settings"), "bad"]);
  for (const one of app.certificate?.trouble ?? []) found.push([one, "See certificates", "#/certificates", "warn"]);
  if (app.pendingRestart) found.push(["changed settings wait for a restart", "See it", appLink(app.name), "warn"]);
  if (app.maintenance) found.push(["in maintenance: visitors get 503", "See it", appLink(app.name), "warn"]);
  return found;
}

export const shownState = (app) => (app.maintenance && app.state === "online" ? "maintenance" : app.state);

function appRow({ name }) {
  const state = badge("stopped");
  const version = h("small", {});
  const workers = h("span", {});
  const line = spark();
  const rate = h("span", {}), p95 = h("span", {}), errors = h("span", {}), cpu = h("span", {}), memory = h("span", {});
  const doing = h("small", { class: "doing" });
  const toggle = iconButton("stopped", "", () => (apps.get(name)?.running ? actions.confirmStop(name) : actions.start(name)));
  const again = iconButton("restart", `Restart ${name}`, () => actions.restart(name));
  const node = row({},
    cell("App", "name", h("a", { href: appLink(name) }, name), version),
    cell("State", "state", state.node, doing),
    cell("Workers", "n", workers),
    cell("Requests/s", "n rate", line.node, rate),
    cell("p95", "n", p95),
    cell("Errors/s", "n", errors),
    cell("CPU", "n", cpu),
    cell("Memory", "n", memory),
    cell("", "tools", toggle, again));
  let seen = true;
  new IntersectionObserver(([entry]) => { seen = entry.isIntersecting; }).observe(node);
  return {
    node,
    update(app) {
      if (!seen) return;
      state.set(shownState(app));
      text(doing, actions.work.get(name) ?? "");
      text(version, [app.type === "node" ? "" : app.type, app.version && `v${app.version}`].filter(Boolean).join(" "));
      text(workers, app.type === "static" ? "–" : `${app.sum.online}/${app.sum.wanted}`);
      line.update(series(name, "requests"));
      text(rate, number(app.requestsPerSecond));
      text(p95, ms(app.latencyP95Ms));
      text(errors, number(app.errorsPerSecond));
      attribute(errors, "class", app.errorsPerSecond > 0 ? "bad" : null);
      text(cpu, app.type === "node" ? percent(app.sum.cpu) : "–");
      text(memory, app.type === "node" ? bytes(app.sum.memory) : "–");
      const label = `${app.running ? "Stop" : "Start"} ${name}`;
      if (toggle.title !== label) {
        toggle.title = label;
        toggle.setAttribute("aria-label", label);
        toggle.replaceChildren(icon(app.running ? "stopped" : "play"));
      }
      show(again, app.running);
      toggle.disabled = again.disabled = actions.work.has(name);
    },
  };
}

function alertRow() {
  const name = h("a", {}), said = h("span", {}), act = h("a", { class: "more" }), picture = h("span", { class: "pic" });
  return {
    node: h("li", {}, picture, h("span", { class: "grow" }, name, " ", said), act),
    update({ app, what: [words, todo, where, tone] }) {
      attribute(name, "href", appLink(app.name));
      text(name, app.name);
      text(said, words);
      text(act, todo);
      attribute(act, "href", where);
      if (picture.dataset.tone !== tone) {
        picture.dataset.tone = tone;
        picture.className = `pic ${tone}`;
        picture.replaceChildren(icon(tone === "bad" ? "errored" : "warning"));
      }
    },
  };
}

export function overview(root) {
  const summary = h("p", { class: "summary" });
  const search = h("input", { type: "search", placeholder: "Find an app", "aria-label": "Find an app", value: "" });
  const alerts = h("ul", { class: "alerts" });
  const notice = h("section", { class: "card notice", "aria-label": "What is not as wanted", hidden: true },
    h("h2", {}, "Not as wanted"), alerts);
  const all = table("Apps", [["App", "name"], ["State", ""], ["Workers", "n"], ["Requests/s", "n"], ["p95", "n"],
    ["Errors/s", "n"], ["CPU", "n"], ["Memory", "n"], ["", "tools"]], { class: "cards apps" });
  const none = h("div", { class: "empty", hidden: true });
  const last = feed({ many: 8 });
  root.append(
    heading("Apps", search, button("Add app", actions.add, { class: "btn primary", picture: "plus" })),
    summary, notice, all.node, none,
    h("section", { "aria-label": "Recent events" },
      h("div", { class: "heading" }, h("h2", {}, "Recent events"), h("a", { class: "more", href: "#/events" }, "All events")),
      last.node));
  const rows = new List(all.body, appRow);
  const alertRows = new List(alerts, alertRow);
  search.addEventListener("input", draw);
  function draw() {
    const every = sorted();
    const wanted = search.value.trim().toLowerCase();
    const found = every.filter((app) => !wanted || app.name.toLowerCase().includes(wanted)
      || app.urls.some((url) => url.includes(wanted)) || app.state.includes(wanted));
    rows.update(found, (app) => app.name);
    const wrong = every.flatMap((app) => troubles(app).map((what, at) => ({ app, what, at })));
    alertRows.update(wrong.slice(0, 20), ({ app, at }) => `${app.name} ${at}`);
    show(notice, wrong.length);
    show(all.node, found.length);
    show(none, !found.length);
    text(none, !link.loaded ? "Loading …" : every.length ? `No app is called ${wanted}.`
      : "There is no app yet. Add one here, or in its directory with: ood add");
    const online = every.filter((app) => app.state === "online").length;
    const stopped = every.filter((app) => !app.running).length;
    const total = every.reduce((one, app) => one + app.requestsPerSecond, 0);
    text(summary, every.length ? `${count(every.length, "app")}, ${online} online${stopped ? `, ${stopped} stopped` : ""}; ${number(total)} requests/s` : "");
    last.draw();
  }
  return { title: "Apps", draw };
}
