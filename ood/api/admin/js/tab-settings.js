// Settings of an app or of the service, as a form that is made of the API's own description.

import { appPath, ask, key as sessionKey } from "./api.js";
import { h, text, show } from "./dom.js";
import { DURATIONS, SIZES, count, shortest } from "./format.js";
import { apps, follow } from "./live.js";
import { button, complain, heading, newId, say, searchInput, showFaults, textInput } from "./ui.js";

const GROUPS = [
  ["Ports and API", /^(httpPort|httpsPort|api\w+|metricsAccess|balancerEngine)$/],
  ["Program", /^(type|cwd|script|args|nodeArgs|interpreter|env|user|group|port)$/],
  ["Addresses", /^(domains|default|https|hsts|tls|routes|redirects|rewrites)$/],
  ["Workers", /^(instances|handoff|sticky|spare|dependsOn|waitReady|listenTimeout|killTimeout|stopSignal)$/],
  ["Servers elsewhere", /^(upstreams|balance|healthInterval|maxFails|failTimeout)$/],
  ["Health and restarts", /^(health|autorestart|minUptime|maxRestarts|expBackoff|restartDelay|maxMemory|cronRestart|watch|ignoreWatch)/],
  ["Files", /^(index|fallback|precompressed|cacheControl|compress)$/],
  ["Requests and access", /^(headers|requestHeaders|basicAuth|allow|deny|rateLimit|bodyLimit|errorPages|maintenanceAllow|requestId|accessLog|trustedProxies|proxyProtocol)/],
  ["Certificates", /^acme/],
  ["Notifications", /^notify$/],
  ["More", /./],
];

let described = null;
/** What is edited and not saved, by form: it is there when one comes back, or has logged in again. */
const drafts = new Map();

/** The API's schemas, read once. */
async function schemas() {
  described ??= (await ask("GET", "/openapi.json")).components.schemas;
  return described;
}

/** The schemas that a value may have, without null and without what is only another spelling. */
function kinds(schema) {
  return (schema.anyOf ?? [schema]).flatMap((one) => (one.anyOf ? kinds(one) : [one]))
    .filter((one) => one.type !== "null" && !one.description?.endsWith("as text"));
}

const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

function lineList(kind) {
  const item = kind.items?.type;
  return kind.type === "array" && (item === "string" || Array.isArray(item));
}

/** How a value is edited: `{ node, get, set }`; `get` throws what is wrong with a text. */
function editor(schema, doc, preset) {
  const [kind, ...others] = kinds(schema);
  const words = kind.type === "boolean" ? { true: "yes", false: "no" } : Object.fromEntries((kind.enum ?? []).map((one) => [one, one]));
  if (!others.length && Object.keys(words).length) {
    const node = h("select", preset === undefined && h("option", { value: "" }, "not set"),
      Object.entries(words).map(([value, word]) => h("option", { value }, word)));
    const get = () => (node.value === "" ? null : kind.type === "boolean" ? node.value === "true" : node.value);
    return { node, get, set: (value) => { node.value = String(value ?? ""); } };
  }
  if (!others.length && lineList(kind)) {
    const node = h("textarea", { rows: 1, spellcheck: "false", placeholder: "one a line" });
    const fit = () => { node.rows = Math.min(Math.max(node.value.split("\n").length, 1), 8); };
    node.addEventListener("input", fit);
    const get = () => node.value.split("\n").map((one) => one.trim()).filter(Boolean);
    return { node, get, set: (value) => { node.value = (value ?? []).join("\n"); fit(); } };
  }
  if (kind.type === "object" || (kind.type === "array" && !lineList(kind))) {
    const node = h("textarea", { rows: 2, spellcheck: "false", class: "code" });
    const get = () => {
      try {
        return JSON.parse(node.value || "null");
      } catch (error) {
        throw new Error(`is not JSON: ${error.message}`);
      }
    };
    const set = (value) => {
      node.value = JSON.stringify(value ?? (kind.type === "array" ? [] : {}), null, 2);
      node.rows = Math.min(node.value.split("\n").length + 1, 14);
    };
    return { node, get, set };
  }
  const units = /Allowed: milliseconds/.test(doc) ? DURATIONS : /Allowed: bytes/.test(doc) ? SIZES : null;
  const node = textInput();
  const set = (value) => { node.value = value === null || value === undefined ? "" : spelled(value, units); };
  return { node, get: () => node.value.trim() || null, set };
}

function spelled(value, units) {
  if (Array.isArray(value)) return value.join(",");
  return units && typeof value === "number" ? shortest(value, units) : String(value);
}

function shownDefault(value, doc) {
  if (value === undefined || value === null) return "not set";
  if (typeof value === "object") return Object.keys(value).length ? spelled(value) : "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return spelled(value, /Allowed: milliseconds/.test(doc) ? DURATIONS : /Allowed: bytes/.test(doc) ? SIZES : null) || "none";
}

function entry(key, schema, preset, changed) {
  const doc = schema.description ?? "";
  const [meaning, allowed = ""] = doc.split(" Allowed: ");
  const made = editor(schema, doc, preset);
  const id = newId("setting");
  const control = made.node;
  control.id = id;
  control.name = key;
  control.setAttribute("aria-describedby", `${id}-doc ${id}-wrong`);
  const wrong = h("p.wrong", { id: `${id}-wrong`, hidden: true });
  const state = h("span.preset");
  const unset = button("Reset", () => {
    made.set(preset);
    self.reset = true;
    changed();
  }, { class: "btn quiet small", "aria-label": `Reset ${key}` });
  const node = h("div.setting", {},
    h("div.what", h("label", { for: id }, key),
      h("p.doc", { id: `${id}-doc` }, `${meaning} `, allowed && h("span", `Allowed: ${allowed}`))),
    h("div.value", control, wrong, h("div.under", state, unset)));
  const nullable = schema.anyOf?.some((one) => one.type === "null");
  const self = {
    name: key, node, control, words: `${key} ${meaning}`.toLowerCase(), only: /^With type (\w+)/.exec(meaning)?.[1], reset: false, value: undefined, shown: "",
    fault(said) {
      show(wrong, said);
      text(wrong, said ?? "");
      if (said) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
    },
    load(value) {
      self.value = value;
      self.reset = false;
      made.set(value);
      self.shown = control.value;
      self.fault("");
      self.mark();
    },
    /** Take over what somebody else has set; what is edited here stays, and that is said. */
    elsewhere(value) {
      if (!self.edited) self.load(value);
      else if (!same(value, self.value)) {
        self.value = value;
        self.fault(`was changed elsewhere meanwhile, to: ${shownDefault(value, doc)}`);
      }
    },
    get draft() { return [self.name, { value: control.value, reset: self.reset }]; },
    resume({ value, reset }) {
      if (reset) made.set(preset);
      else {
        control.value = value;
        control.dispatchEvent(new Event("input"));
      }
      self.reset = reset;
    },
    get edited() { return self.reset ? !same(self.value, preset) : control.value !== self.shown; },
    get own() { return !same(self.value, preset); },
    get: () => (self.reset ? null : made.get()),
    mark() {
      node.classList.toggle("edited", self.edited);
      const set = self.own;
      const known = shownDefault(preset, doc);
      text(state, !set ? (preset === undefined ? "Not set" : `Default: ${known}`) : preset === undefined || preset === "" ? "Set" : `Set; the default is ${known}`);
      show(unset, set && nullable && !self.reset);
    },
  };
  for (const kind of ["input", "change"]) control.addEventListener(kind, () => {
    self.reset = false;
    changed();
  });
  return self;
}

async function form(root, { path, current, changes, what, done }) {
  const all = await schemas();
  const entries = [];
  const tell = () => {
    for (const one of entries) one.mark();
    const many = entries.filter((one) => one.edited).length;
    show(bar, many);
    text(summary, `${count(many, "change")} not saved`);
    save.disabled = discard.disabled = !many;
    filter();
  };
  for (const [key, schema] of Object.entries(all[changes].properties)) {
    entries.push(entry(key, schema, all[current].properties[key]?.default, tell));
  }
  const find = searchInput("Find a setting");
  const onlySet = h("input", { type: "checkbox", id: newId("only") });
  const none = h("p.empty", { hidden: true }, "No setting fits.");
  const summary = h("span.grow", { role: "status" });
  const save = h("button.btn.primary", "Save");
  const discard = button("Discard", () => {
    for (const one of entries) one.load(one.value);
    tell();
    refresh();
  });
  const bar = h("div.savebar", { hidden: true }, summary, discard, save);
  const left = new Set(entries);
  const groups = GROUPS.map(([title, fits]) => {
    const mine = [...left].filter((one) => fits.test(one.name));
    mine.forEach((one) => left.delete(one));
    const node = h("section.card.group", h("h2", title), mine.map((one) => one.node));
    return mine.length ? { node, mine } : null;
  }).filter(Boolean);
  // What only files or only servers elsewhere have is in the way of the others.
  const type = () => entries.find((one) => one.name === "type")?.control.value;
  function filter() {
    const word = find.value.trim().toLowerCase();
    let any = false;
    for (const { node, mine } of groups) {
      for (const one of mine) show(one.node, one.words.includes(word)
        && (one.own || one.edited || (!onlySet.checked && (!one.only || one.only === type()))));
      const shown = mine.some((one) => !one.node.hidden);
      show(node, shown);
      any ||= shown;
    }
    show(none, !any);
  }
  find.addEventListener("input", filter);
  onlySet.addEventListener("change", filter);

  async function load() {
    const values = await ask("GET", path(true));
    for (const one of entries) one.load(values[one.name]);
    tell();
  }
  let saving = false;
  async function refresh() {
    if (saving) return;
    try {
      const values = await ask("GET", path(true));
      if (saving) return;
      for (const one of entries) one.elsewhere(values[one.name]);
      tell();
    } catch (problem) {
      // That an app is gone is said by its page.
      if (problem.status !== 404) complain(problem);
    }
  }
  async function submit(event) {
    event.preventDefault();
    const body = {};
    const faults = [];
    for (const one of entries.filter((each) => each.edited)) {
      try {
        body[one.name] = one.get();
      } catch (error) {
        faults.push({ key: one.name, problem: error.message });
      }
    }
    save.disabled = saving = true;
    try {
      if (!faults.length) {
        await ask("PATCH", path(false), body);
        showFaults(entries, []);
        say(done(body));
        await load();
        return;
      }
    } catch (problem) {
      faults.push(...(problem.faults ?? []));
      if (!faults.length) complain(problem);
    } finally {
      saving = false;
    }
    find.value = "";
    onlySet.checked = false;
    filter();
    save.disabled = false;
    const rest = showFaults(entries, faults);
    if (faults.length) say(rest.join("; ") || `${count(faults.length, "value")} not right: see the marked settings`, "bad");
  }
  root.append(
    h("form.settings", { novalidate: true, "aria-label": `Settings of ${what}`, onsubmit: submit },
      h("div.toolbar", find, h("label.inline", { for: onlySet.id }, onlySet, "Only what is set")),
      groups.map(({ node }) => node), none, bar));
  await load();
  for (const [name, draft] of drafts.get(path(false)) ?? []) entries.find((one) => one.name === name)?.resume(draft);
  tell();
  function close() {
    // Who logs out leaves nothing to the next one.
    if (!sessionKey()) drafts.clear();
    else drafts.set(path(false), entries.filter((one) => one.edited).map((one) => one.draft));
  }
  return { refresh, close };
}

export async function settingsTab(root, name) {
  const made = await form(root, {
    path: (reading) => (reading ? appPath(name, "config") : appPath(name)), current: "App", changes: "AppChanges", what: name,
    done: () => `Saved${apps.get(name)?.running ? "; workers are replaced by Restart where that is needed" : ""}`,
  });
  const deaf = follow("configured", name, made.refresh);
  return { close: () => { deaf(); made.close(); } };
}

export async function serviceSettings(root) {
  root.append(heading("Settings", button("Test notifications", async () => {
    try {
      const { results } = await ask("POST", "/notify/test");
      const failed = results.filter((one) => one.error);
      if (!results.length) say("Nobody is told yet: set notify first");
      else if (failed.length) say(failed.map((one) => `${one.target}: ${one.error}`).join("; "), "bad");
      else say(`${count(results.length, "target")} told`);
    } catch (problem) {
      complain(problem);
    }
  })));
  const made = await form(root, {
    path: () => "/settings", current: "Settings", changes: "SettingsChanges", what: "the service",
    done: (body) => (Object.keys(body).some((key) => /Port$|Engine$/.test(key)) ? "Saved; ports and engine hold from the next start of ood" : "Saved"),
  });
  const deaf = follow("configured", "", made.refresh);
  return { title: "Settings", close: () => { deaf(); made.close(); } };
}
