// One app: its state, what can be done with it, and a tab for each side of it.

import * as actions from "./actions.js";
import { lazy } from "./api.js";
import { List, attribute, h, icon, show, text } from "./dom.js";
import { count } from "./format.js";
import { apps, follow, link, live } from "./live.js";
import { shownState, troubles, appLink } from "./overview.js";
import { appState } from "./tab-overview.js";
import { workersTab } from "./tab-workers.js";
import { badge, button, dim, empty, iconButton, unshown } from "./ui.js";

const TABS = {
  "": ["Overview", appState],
  workers: ["Workers", workersTab],
  log: ["Log", lazy("./tab-log.js", "logTab")],
  settings: ["Settings", lazy("./tab-settings.js", "settingsTab")],
  releases: ["Releases", lazy("./tab-releases.js", "releasesTab")],
  deaths: ["Deaths", lazy("./tab-deaths.js", "deathsTab")],
};

/** Whether there is anything to see: files have no workers, servers elsewhere no releases. */
const shownTab = ({ type }, tab) => !{
  static: ["workers", "deaths"], proxy: ["releases", "deaths"],
}[type]?.includes(tab);

/** How far a rolling restart is, as its events tell. */
function progress(name) {
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const said = h("span");
  const node = h("div.progress", { role: "status", hidden: true }, h("span.pic.busy.spin", icon("busy")), said, bar);
  let told = null;
  const close = follow("restart", name, (event) => {
    told = !event || ["ended", "failed"].includes(event.data.phase) ? null : event.data;
  });
  return {
    node,
    draw() {
      const doing = actions.work.get(name);
      show(node, doing || told);
      text(said, [doing ?? "Replacing workers", told && `${told.done} of ${count(told.workers, "worker")}`].filter(Boolean).join(": "));
      if (told) bar.value = told.done / Math.max(told.workers, 1);
      else bar.removeAttribute("value");
    },
    close,
  };
}

function noteRow() {
  const said = h("span.grow"), more = h("a.more");
  return {
    node: h("li", h("span.pic.warn", icon("warning")), said, more),
    update([words, todo, where]) {
      text(said, words);
      text(more, todo);
      attribute(more, "href", where);
      show(more, where !== location.hash);
    },
  };
}

export function appView(root, name, tab = "") {
  const [label, make] = TABS[tab] ?? TABS[""];
  const state = badge("stopped");
  const facts = h("p.summary");
  const toggle = button("Start", () => (apps.get(name).running ? actions.confirmStop(name) : actions.start(name)));
  const anew = button("Restart", () => actions.restart(name), { picture: "restart" });
  const many = h("b");
  const fewer = iconButton("minus", "One worker less", () => actions.scale(name, "-1"));
  const more = iconButton("plus", "One worker more", () => actions.scale(name, "+1"));
  const scaler = h("div.scaler", { role: "group", "aria-label": "Number of workers" }, fewer, many, more);
  const deploy = h("a.btn", { href: appLink(name, "releases") }, "Deploy");
  const maintenance = button("", () => actions.maintain(name, apps.get(name).maintenance));
  const remove = button("Delete", () => actions.remove(name), { class: "btn danger" });
  const going = progress(name);
  const notes = h("ul.alerts");
  const notice = h("section.card.notice", { "aria-label": "What is not as wanted" }, notes);
  const noteRows = new List(notes, noteRow);
  const body = h("div.tab");
  const links = Object.entries(TABS).map(([key, [word]]) =>
    [key, h("a", { href: appLink(name, key), "aria-current": key === tab ? "page" : null }, word)]);
  const workersLink = links[1][1];
  const page = h("div", { hidden: true },
    h("div.heading", {},
      h("div.named", h("p.crumb", h("a", { href: "#/" }, "Apps")),
        h("h1", { tabindex: "-1" }, name), state.node),
      h("div.actions", toggle, anew, scaler, deploy, maintenance, remove)),
    facts, going.node, notice,
    h("nav.tabs", { "aria-label": `Pages of ${name}` }, links.map(([, one]) => one)),
    body);
  const gone = h("div", { hidden: true }, h("h1", { tabindex: "-1" }, name),
    empty("There is no app of this name. ", h("a", { href: "#/" }, "See all apps")));
  root.append(page, gone);
  let inner = null;
  let closed = false;
  let begun = false;
  let unloaded = false;
  async function begin() {
    begun = true;
    unloaded = false;
    body.replaceChildren();
    try {
      inner = await make(body, name);
    } catch (problem) {
      unloaded = !closed && problem.status !== 401;
      if (unloaded) body.replaceChildren(unshown(problem, begin));
      return;
    }
    if (closed) inner?.close?.();
    else draw();
  }
  const again = () => unloaded && begin();
  live.addEventListener("again", again);
  function draw() {
    const app = apps.get(name);
    show(page, app);
    show(gone, !app && link.loaded);
    if (!app) return;
    if (!begun) begin();
    state.set(shownState(app));
    const busy = actions.work.has(name);
    const wanted = app.running || app.type === "proxy";
    text(facts, [app.type === "static" ? "files" : wanted && `${app.sum.online} of ${count(app.sum.wanted, app.sum.parts)} online`,
      app.type === "node" ? "" : app.type, app.version && `version ${app.version}`, app.release && `release ${app.release}`]
      .filter(Boolean).join(" · "));
    text(toggle, app.running ? "Stop" : "Start");
    attribute(toggle, "class", app.running ? "btn" : "btn primary");
    text(many, app.wanted);
    show(anew, app.running && app.type !== "static");
    // How many there will be is not known while none is wanted.
    show(scaler, app.type === "node" && app.running);
    show(deploy, app.type !== "proxy");
    text(maintenance, app.maintenance ? "End maintenance" : "Maintenance");
    for (const one of [toggle, anew, more, fewer, maintenance]) dim(one, busy);
    fewer.disabled = app.wanted < 2;
    const wrong = troubles(app);
    noteRows.update(wrong, ([words]) => words);
    show(notice, wrong.length);
    text(workersLink, app.type === "proxy" ? "Servers" : "Workers");
    for (const [key, one] of links) show(one, shownTab(app, key));
    going.draw();
    inner?.draw?.(app);
  }
  return {
    title: `${name}: ${label}`,
    draw,
    close() {
      closed = true;
      live.removeEventListener("again", again);
      going.close();
      inner?.close?.();
    },
  };
}
