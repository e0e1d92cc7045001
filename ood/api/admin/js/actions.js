// What one can do with an app, from wherever.

import { appPath, ask } from "./api.js";
import { h } from "./dom.js";
import { redraw } from "./live.js";
import { complain, dialog, field, say, textInput } from "./ui.js";

/** What is being done to each app just now, in words. */
export const work = new Map();

async function during(name, doing, done, command) {
  if (work.has(name)) {
    say(`${name}: ${work.get(name)} already`, "bad", "Wait until that is done.");
    return;
  }
  work.set(name, doing);
  redraw();
  try {
    await command();
    say(`${name} ${done}`);
  } catch (problem) {
    complain(problem);
  } finally {
    work.delete(name);
    redraw();
  }
}

const post = (name, verb, body) => () => ask("POST", appPath(name, verb), body);

export const start = (name) => during(name, "Starting", "is started", post(name, "start"));
export const stop = (name) => during(name, "Stopping", "is stopped", post(name, "stop"));
export const restart = (name) => during(name, "Restarting", "is restarted", post(name, "restart"));
export const scale = (name, instances) =>
  during(name, "Scaling", "is scaled", post(name, "scale", { instances }));
export const rollback = (name, release) =>
  during(name, "Rolling back", `runs ${release} now`, post(name, "rollback", { release }));

export function confirmStop(name) {
  dialog({
    title: `Stop ${name}?`,
    body: h("p", "Its workers finish what they have begun. Visitors get an error page until it is started again."),
    ok: "Stop", tone: "danger",
    submit: async () => void stop(name),
  });
}

export function maintain(name, on) {
  if (on) {
    during(name, "Ending the maintenance", "is back from maintenance", post(name, "maintenance", { on: false }));
    return;
  }
  const message = field("message", "Message for visitors", h("textarea", { rows: 3 }), "The usual words if it is empty.");
  const hold = field("hold", "Hold requests for", textInput("0"),
    "Requests wait so long for the end before they are answered, such as 30s.");
  dialog({
    title: `Maintenance of ${name}`, ok: "Begin", fields: [message, hold],
    body: h("p", "ood answers in its place with 503 until you end it. The app goes on running."),
    submit: async () => {
      const body = { on: true };
      if (message.control.value.trim()) body.message = message.control.value.trim();
      if (hold.control.value.trim()) body.hold = hold.control.value.trim();
      try {
        await post(name, "maintenance", body)();
      } catch (problem) {
        for (const fault of problem.faults ?? []) if (fault.key === "maintenance") fault.key = "hold";
        throw problem;
      }
      say(`${name} is in maintenance`);
    },
  });
}

export function remove(name) {
  const typed = field("name", `Type ${name} to confirm`, textInput());
  const purge = field("purge", "Remove its releases, too", h("input", { type: "checkbox" }));
  dialog({
    title: `Delete ${name}?`, ok: "Delete", tone: "danger", fields: [typed, purge],
    body: h("p", "It is stopped and its settings are forgotten. The files in its directory stay."),
    allowed: () => typed.control.value === name,
    submit: async () => {
      await ask("DELETE", `${appPath(name)}${purge.control.checked ? "?purge=true" : ""}`);
      say(`${name} is deleted`);
      location.hash = "#/";
    },
  });
}

export function add() {
  const name = field("name", "Name", textInput("shop.example.com"), "A host name the app answers to, or a word.");
  const type = field("type", "Type", h("select", {},
    h("option", { value: "node" }, "A program (Node.js)"),
    h("option", { value: "static" }, "Files"),
    h("option", { value: "proxy" }, "Servers elsewhere")));
  const cwd = field("cwd", "Directory", textInput("/srv/shop"), "Where it is on this machine.");
  const script = field("script", "Script", textInput("server.js"), "What to run, from its directory.");
  const upstreams = field("upstreams", "Servers", textInput("10.0.0.5:8080, 10.0.0.6:8080"), "Their addresses, with commas.");
  const port = field("port", "Port", textInput("assigned"), "On which it listens; it sees it as PORT.");
  const now = field("start", "Start it at once", h("input", { type: "checkbox", checked: true }));
  const chosen = () => {
    const kind = type.control.value;
    cwd.node.hidden = kind === "proxy";
    script.node.hidden = port.node.hidden = kind !== "node";
    upstreams.node.hidden = kind !== "proxy";
  };
  type.control.addEventListener("change", chosen);
  chosen();
  dialog({
    title: "Add an app", ok: "Add", fields: [name, type, cwd, script, port, upstreams, now],
    submit: async () => {
      const body = { name: name.control.value.trim() };
      if (type.control.value !== "node") body.type = type.control.value;
      for (const one of [cwd, script, port, upstreams]) {
        if (!one.node.hidden && one.control.value.trim()) body[one.name] = one.control.value.trim();
      }
      await ask("POST", "/apps", body);
      say(`${body.name} is added`);
      location.hash = `#/apps/${encodeURIComponent(body.name)}`;
      if (now.control.checked) start(body.name);
    },
  });
}
