// What happened, newest first.

import { List, h, icon, text } from "./dom.js";
import { when } from "./format.js";
import { events, link } from "./live.js";
import { heading, searchInput } from "./ui.js";

const TONES = {
  death: ["bad", "errored"], errored: ["bad", "errored"], recovered: ["ok", "online"],
  deploy: ["ok", "online"], restart: ["busy", "restart"], health: ["warn", "warning"],
};

function tone({ kind, data }) {
  if (["failed", "refused"].includes(data?.outcome ?? data?.phase)) return ["bad", "errored"];
  return TONES[kind] ?? ["idle", "stopped"];
}

function line(event) {
  const [colour, picture] = tone(event);
  const app = event.app && h("a", { href: `#/apps/${encodeURIComponent(event.app)}` }, event.app);
  const [before, ...after] = app ? event.text.split(event.app) : [event.text];
  const times = h("small");
  return {
    update: (one) => text(times, one.times > 1 ? ` ${one.times} times` : ""),
    node: h("li", h("time", { datetime: event.time }, when(event.time)), h("span", { class: `pic ${colour}` }, icon(picture)),
      h("span.grow", after.length ? [before, app, after.join(event.app)] : [app && [app, " "], event.text], times)),
  };
}

/** A list of what happened that `draw()` brings up to date. */
export function feed({ many, wanted = () => true }) {
  const list = h("ul.feed");
  const none = h("p.empty");
  const rows = new List(list, line);
  return {
    node: h("div.card.flush", list, none),
    draw() {
      const shown = [];
      for (const event of events.filter(wanted)) {
        const last = shown.at(-1);
        if (last?.text === event.text) last.times += 1;
        else if (shown.push({ ...event, times: 1 }) > many) break;
      }
      shown.length = Math.min(shown.length, many);
      rows.update(shown, (event) => `${event.run}.${event.id}`);
      text(none, link.loaded ? "Nothing has happened lately." : "Loading …");
      none.hidden = shown.length > 0;
      list.hidden = !shown.length;
    },
  };
}

export function eventsView(root) {
  const find = searchInput("Filter events");
  const kind = h("select", { "aria-label": "Kind of event" }, h("option", { value: "" }, "All but worker states"),
    h("option", { value: "*" }, "Everything"),
    ["worker", "death", "errored", "recovered", "restart", "deploy", "configured", "certificate", "health"]
      .map((one) => h("option", { value: one }, one)));
  const wanted = (event) => (kind.value === "*" || (kind.value ? event.kind === kind.value : event.kind !== "worker"))
    && `${event.app} ${event.text}`.toLowerCase().includes(find.value.trim().toLowerCase());
  const all = feed({ many: 200, wanted });
  for (const control of [find, kind]) control.addEventListener("input", all.draw);
  root.append(heading("Events", kind, find), all.node);
  return { title: "Events", draw: all.draw };
}

