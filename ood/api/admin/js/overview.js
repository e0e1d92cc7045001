// All apps, what is not as wanted, and what happened last.

import * as actions from "./actions.js";
import { spark } from "./charts.js";
import { List, attribute, h, icon, show, text } from "./dom.js";
import { feed } from "./events.js";
import { bytes, count, ms, number, percent } from "./format.js";
import { apps, link, series, sorted } from "./live.js";
import { button, dim, grid, heading, hostName, iconButton, own, searchInput, stateOf } from "./ui.js";

const ALERTS_SHOWN = 12;

export const appLink = (name, tab = "") => `#/apps/${encodeURIComponent(name)}${tab && `/${tab}`}`;

const KINDS = { static: "files", proxy: "servers elsewhere" };

export const shownState = (app) => (app.maintenance && app.state === "online" ? "maintenance" : app.state);

/** Whether workers end before they answer, be the next one launching or not yet. */
const dies = (app) => (app.state === "launching"
  ? app.workers.some((one) => one.restarts && one.reason) : ["errored", "waiting-restart"].includes(app.state));

/** What is not as wanted in an app: `[text, what to do, where]` each. */
export function troubles(app) {
  const found = [];
  if (app.running && dies(app)) {
    const reason = [...app.workers, ...app.upstreams].find((one) => one.reason)?.reason;
    found.push([`${app.state.replace("-", " ")}${reason ? `: ${reason}` : ""}`,
      app.type === "proxy" ? "See its servers" : "See why", appLink(app.name, app.type === "proxy" ? "workers" : "deaths"), "bad"]);
  } else if (app.running && app.sum.online < app.sum.wanted && app.state !== "launching" && !actions.work.has(app.name)) {
    found.push([`${app.sum.online} of ${count(app.sum.wanted, app.sum.parts)} online`,
      "See them", appLink(app.name, "workers"), "warn"]);
  }
  for (const one of app.trouble) found.push([one, "See its settings", appLink(app.name, "settings"), "bad"]);
  const terms = app.certificate?.state === "terms";
  for (const one of app.certificate?.trouble ?? []) {
    found.push([one, terms ? "See the settings" : "See certificates", terms ? "#/settings" : "#/certificates", "warn"]);
  }
  if (app.pendingRestart) found.push(["changed settings wait for a restart", "See it", appLink(app.name), "warn"]);
  if (app.maintenance) found.push(["in maintenance: visitors get 503", "See it", appLink(app.name), "warn"]);
  return found;
}

const nameCell = own(({ name }) => {
  const version = h("small");
  return [[h("a", { href: appLink(name) }, hostName(name)), version], (app) =>
    text(version, [app.type !== "node" && KINDS[app.type], app.version && `v${app.version}`].filter(Boolean).join(" "))];
});

const rateCell = own(({ name }) => {
  const line = spark();
  const rate = h("span");
  return [[line.node, rate], (app) => {
    line.update(series(name, "requests"));
    text(rate, number(app.requestsPerSecond));
  }];
});

const errorCell = own(() => {
  const node = h("span");
  return [[node], (app) => {
    text(node, number(app.errorsPerSecond));
    attribute(node, "class", app.errorsPerSecond > 0 ? "bad" : null);
  }];
});

const actCell = own(({ name }) => {
  const toggle = iconButton("stopped", "", () => (apps.get(name)?.running ? actions.confirmStop(name) : actions.start(name)));
  const again = iconButton("restart", `Restart ${name}`, () => actions.restart(name));
  return [[toggle, again], (app) => {
    const label = `${app.running ? "Stop" : "Start"} ${name}`;
    if (toggle.title !== label) {
      toggle.title = label;
      toggle.setAttribute("aria-label", label);
      toggle.replaceChildren(icon(app.running ? "stopped" : "play"));
    }
    again.style.visibility = app.running && app.type !== "static" ? "" : "hidden";
    for (const one of [toggle, again]) dim(one, actions.work.has(name));
  }];
});

const COLUMNS = [
  ["App", "name", nameCell],
  ["State", "state", stateOf(shownState, (app) => actions.work.get(app.name) ?? "")],
  ["Workers", "n", (app) => (app.type === "static" || !app.sum.wanted ? "–" : `${app.sum.online}/${app.sum.wanted}`)],
  ["Requests/s", "n rate", rateCell],
  ["p95", "n p95", (app) => ms(app.latencyP95Ms)],
  ["Errors/s", "n", errorCell],
  ["CPU", "n cpu", (app) => (app.type === "node" && app.running ? percent(app.sum.cpu) : "–")],
  ["Memory", "n", (app) => (app.type === "node" && app.running ? bytes(app.sum.memory) : "–")],
  ["", "acts", actCell],
];

function alertRow() {
  const name = h("a"), others = h("span"), said = h("span"), act = h("a.more"), picture = h("span.pic");
  return {
    node: h("li", picture, h("span.grow", name, others, ": ", said), act),
    update({ name: first, more, what: [words, todo, where, tone] }) {
      attribute(name, "href", appLink(first));
      text(name, first);
      text(others, more ? ` and ${count(more, "other app")}` : "");
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

/** The same words about several apps are said once; the worst first. */
function alertsOf(every) {
  const found = new Map();
  for (const { name, what } of every.flatMap((app) => troubles(app).map((one) => ({ name: app.name, what: one })))) {
    const known = found.get(what[0]);
    if (known) known.more += 1;
    else found.set(what[0], { name, what, more: 0 });
  }
  return [...found.values()].sort((one, other) => (one.what[3] > other.what[3]) - (one.what[3] < other.what[3]));
}

export function overview(root) {
  const summary = h("p.summary");
  const search = searchInput("Find an app");
  const alerts = h("ul.alerts");
  const notice = h("section.card.notice", { "aria-label": "What is not as wanted", hidden: true },
    h("h2", "Not as wanted"), alerts);
  const all = grid("Apps", "apps", COLUMNS, (app) => app.name);
  const none = h("div.empty", { hidden: true });
  const last = feed({ many: 8, wanted: (event) => event.kind !== "worker" });
  root.append(
    heading("Apps", search, button("Add app", actions.add, { class: "btn primary", picture: "plus" })),
    summary, notice, all.node, none,
    h("section", { "aria-label": "Recent events" },
      h("div.heading", h("h2", "Recent events"), h("a.more", { href: "#/events" }, "All events")),
      last.node));
  const alertRows = new List(alerts, alertRow);
  search.addEventListener("input", draw);
  function draw() {
    const every = sorted();
    const wanted = search.value.trim().toLowerCase();
    const found = every.filter((app) => !wanted || app.name.toLowerCase().includes(wanted)
      || app.urls.some((url) => url.includes(wanted)) || app.state.includes(wanted));
    all.update(found);
    const wrong = alertsOf(every);
    alertRows.update(wrong.slice(0, ALERTS_SHOWN), ({ what }) => what[0]);
    show(notice, wrong.length);
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
