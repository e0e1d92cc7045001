// What every view uses: states, buttons, dialogs, and what is said when something is done.

import { List, attribute, h, icon, show, text } from "./dom.js";

const STATES = {
  online: ["ok", "online"],
  launching: ["busy", "busy"],
  draining: ["busy", "busy"],
  stopping: ["busy", "busy"],
  stopped: ["idle", "stopped"],
  "waiting-restart": ["warn", "warning"],
  errored: ["bad", "errored"],
  maintenance: ["warn", "tool"],
  valid: ["ok", "online"],
  pending: ["busy", "busy"],
  partial: ["warn", "warning"],
  due: ["warn", "warning"],
  waiting: ["warn", "warning"],
  terms: ["warn", "warning"],
  expired: ["bad", "errored"],
  failed: ["bad", "errored"],
  down: ["bad", "errored"],
};

/** A state in a word, with a picture and a colour. `set(state)` changes it. */
export function badge(state) {
  const word = h("span");
  const picture = h("span.pic");
  const node = h("span.badge", picture, word);
  const set = (next) => {
    if (node.dataset.state === next) return;
    node.dataset.state = next;
    const [tone, name] = STATES[next] ?? ["idle", "stopped"];
    node.className = `badge ${tone}`;
    picture.replaceChildren(icon(name));
    text(word, next.replace("-", " "));
  };
  set(state);
  return { node, set };
}

/** A host name that may be broken after its dots, where it is too long for its place. */
export function hostName(name) {
  return name.split(/(?<=\.)/).flatMap((part, at) => (at ? [h("wbr"), part] : [part]));
}

export function button(label, onclick, attributes = {}) {
  const { picture, ...rest } = attributes;
  return h("button", { type: "button", class: "btn", onclick, ...rest }, picture && icon(picture), label);
}

/** A button that is only a picture; `label` is what it says. */
export function iconButton(picture, label, onclick, attributes = {}) {
  return h("button", { type: "button", class: "btn icon", title: label, "aria-label": label, onclick, ...attributes },
    icon(picture));
}

/** Show that a button has nothing to do now; it stays where the keyboard is. */
export const dim = (node, on) => attribute(node, "aria-disabled", on ? "true" : null);

export function heading(title, ...tools) {
  return h("div.heading", h("h1", { tabindex: "-1" }, title), h("div.actions", tools));
}

export function empty(...said) {
  return h("p.empty", said);
}

/** In place of what could not be loaded: why, and another try. */
export function unshown(problem, again) {
  return h("div.empty", h("p", [problem.message, problem.hint].filter(Boolean).join(". ")), button("Try again", again));
}

/** A cell's content that is more than a text: `make(item)` returns its nodes and what updates them. */
export const own = (make) => ({ make });

function plain(said) {
  const node = h("span");
  return [[node], (item) => text(node, said(item))];
}

/**
 * A table, on small screens a list of cards. Columns are `[label, class, content]`; the content is
 * a function from item to text, or made with `own`. Rows that nobody sees are left as they are.
 */
export function grid(caption, kind, columns, keyOf) {
  const body = h("tbody", { role: "rowgroup" });
  const rows = new List(body, (first) => {
    const updates = [];
    const node = h("tr", { role: "row" }, columns.map(([label, of, content]) => {
      const [nodes, update] = content.make?.(first) ?? plain(content);
      updates.push(update);
      return h("td", { role: "cell", "data-label": label, class: of }, nodes);
    }));
    let seen = true;
    new IntersectionObserver(([entry]) => {
      seen = entry.isIntersecting;
    }, { rootMargin: "200px" }).observe(node);
    const update = (item) => {
      attribute(node, "class", item.running === false || item.state === "stopped" ? "off" : null);
      for (const one of updates) one?.(item);
    };
    return { node, update: (item) => (seen || !update.done) && (update.done = true) && update(item) };
  });
  const node = h("div.card.flush", { hidden: true },
    h("table", { role: "table", "aria-label": caption, class: `cards ${kind}` },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(([label, of]) =>
        h("th", { role: "columnheader", scope: "col", class: of }, label || h("span.unseen", "Actions"))))),
      body));
  return {
    node,
    update(items) {
      show(node, items.length);
      rows.update(items, keyOf);
    },
  };
}

/** A column's content: its state, and small what there is to say about it. */
export const stateOf = (state, reason) => own(() => {
  const shown = badge("stopped");
  const said = h("small.reason");
  return [[shown.node, said], (item) => {
    shown.set(state(item));
    text(said, reason(item));
  }];
});

export function textInput(placeholder) {
  return h("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder });
}

export function searchInput(label) {
  return h("input", { type: "search", placeholder: label, "aria-label": label, autocomplete: "off" });
}

const SAID_MS = 6000;

/** Say how something went: aloud by screen readers, and in the corner. */
export function say(said, tone = "ok", hint = "") {
  const place = document.getElementById(tone === "bad" ? "failed" : "said");
  const node = h("div", { class: `toast ${tone}` }, icon(tone === "bad" ? "errored" : "online"),
    h("span", said, hint && h("small", hint)),
    h("button", { type: "button", class: "btn quiet icon", "aria-label": "Dismiss", onclick: () => node.remove() }, icon("errored")));
  while (place.childElementCount > 3) place.firstElementChild.remove();
  place.append(node);
  if (tone !== "bad") setTimeout(() => node.remove(), SAID_MS);
}

export function complain(problem) {
  if (problem.name === "AbortError" || problem.status === 401) return;
  const faults = (problem.faults ?? []).map((one) => `${one.key}: ${one.problem}`).join("; ");
  say(faults || problem.message, "bad", faults ? "" : problem.hint);
}

let ids = 0;
export function newId(word) {
  ids += 1;
  return `${word}-${ids}`;
}

/** A labelled input with its doc and a place for what is wrong with it. */
export function field(name, label, control, doc = "") {
  const id = newId("field");
  const wrong = h("p.wrong", { id: `${id}-wrong`, hidden: true });
  control.id = id;
  control.name = name;
  control.setAttribute("aria-describedby", doc ? `${id}-doc ${id}-wrong` : `${id}-wrong`);
  const check = control.type === "checkbox";
  const named = h("label", { for: id }, label);
  const node = h("div", { class: check ? "field check" : "field" }, check ? [control, named] : [named, control],
    doc && h("p.doc", { id: `${id}-doc` }, doc), wrong);
  const fault = (said) => {
    wrong.hidden = !said;
    wrong.textContent = said ?? "";
    if (said) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  };
  return { name, node, control, fault };
}

/** Show each fault at its field; return those that have none here. */
export function showFaults(fields, faults) {
  for (const one of fields) one.fault("");
  const left = [];
  let first = null;
  for (const { key, problem, allowed } of faults) {
    const at = fields.find((one) => one.name === key || key.startsWith(`${one.name}.`));
    const said = `${key === at?.name ? "" : `${key} `}${problem}${allowed ? ` (allowed: ${allowed})` : ""}`;
    if (!at) left.push(`${key}: ${said}`);
    else {
      at.fault(said);
      first ??= at;
    }
  }
  first?.control.focus();
  return left;
}

/**
 * Ask something in a dialog. `submit(form)` does the work; the dialog stays open with
 * what is wrong if that fails.
 */
export function dialog({ title, body, fields = [], ok = "OK", tone = "primary", submit, allowed }) {
  const id = newId("dialog");
  const wrong = h("p.wrong", { role: "alert", hidden: true });
  const yes = h("button", { class: `btn ${tone}` }, ok);
  const node = h("dialog", { "aria-labelledby": id },
    h("form", { method: "dialog", novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      run();
    } },
    h("h2", { id }, title), body, fields.map((one) => one.node), wrong,
    h("div.actions.end", button("Cancel", () => node.close()), yes)));
  const ready = () => {
    yes.disabled = allowed ? !allowed() : false;
  };
  async function run() {
    if (yes.disabled) return;
    yes.disabled = true;
    node.setAttribute("aria-busy", "true");
    wrong.hidden = true;
    try {
      await submit();
      node.close();
    } catch (problem) {
      const left = showFaults(fields, problem.faults ?? []);
      const said = problem.faults?.length ? left.join("; ") : [problem.message, problem.hint].filter(Boolean).join(". ");
      wrong.textContent = said;
      wrong.hidden = !said;
    }
    node.removeAttribute("aria-busy");
    ready();
  }
  node.addEventListener("input", ready);
  node.addEventListener("close", () => node.remove());
  document.body.append(node);
  ready();
  node.showModal();
  return node;
}
