// What every view uses: states, buttons, dialogs, and what is said when something is done.

import { h, icon, text } from "./dom.js";

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
  terms: ["warn", "warning"],
  expired: ["bad", "errored"],
  failed: ["bad", "errored"],
};

/** A state in a word, with a picture and a colour. `set(state)` changes it. */
export function badge(state) {
  const word = h("span");
  const picture = h("span", { class: "pic" });
  const node = h("span", { class: "badge" }, picture, word);
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

export function button(label, onclick, attributes = {}) {
  const { picture, ...rest } = attributes;
  return h("button", { type: "button", class: "btn", onclick, ...rest }, picture && icon(picture), label);
}

/** A button that is only a picture; `label` is what it says. */
export function iconButton(picture, label, onclick, attributes = {}) {
  return h("button", { type: "button", class: "btn icon", title: label, "aria-label": label, onclick, ...attributes },
    icon(picture));
}

export function heading(title, ...tools) {
  return h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, title), h("div", { class: "actions" }, tools));
}

export function empty(...said) {
  return h("p", { class: "empty" }, said);
}

/** A table with a caption for screen readers; columns are `[label, class]`. */
export function table(caption, columns, attributes = {}) {
  const body = h("tbody", { role: "rowgroup" });
  const node = h("table", { role: "table", "aria-label": caption, ...attributes },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
      columns.map(([label, kind]) => h("th", { role: "columnheader", scope: "col", class: kind },
        label || h("span", { class: "unseen" }, "Actions"))))),
    body);
  return { node: h("div", { class: "card flush" }, node), body };
}

export function cell(label, kind, ...children) {
  return h("td", { role: "cell", "data-label": label, class: kind }, children);
}

export function row(attributes, ...cells) {
  return h("tr", { role: "row", ...attributes }, cells);
}

const SAID_MS = 6000;

/** Say how something went: aloud by screen readers, and in the corner. */
export function say(said, tone = "ok", hint = "") {
  const place = document.getElementById(tone === "bad" ? "failed" : "said");
  const node = h("div", { class: `toast ${tone}` }, icon(tone === "bad" ? "errored" : "online"),
    h("span", {}, said, hint && h("small", {}, hint)),
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
  const wrong = h("p", { class: "wrong", id: `${id}-wrong`, hidden: true });
  control.id = id;
  control.name = name;
  control.setAttribute("aria-describedby", doc ? `${id}-doc ${id}-wrong` : `${id}-wrong`);
  const check = control.type === "checkbox";
  const named = h("label", { for: id }, label);
  const node = h("div", { class: check ? "field check" : "field" }, check ? [control, named] : [named, control],
    doc && h("p", { class: "doc", id: `${id}-doc` }, doc), wrong);
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
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const yes = h("button", { class: `btn ${tone}` }, ok);
  const node = h("dialog", { "aria-labelledby": id },
    h("form", { method: "dialog", novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      run();
    } },
    h("h2", { id }, title), body, fields.map((one) => one.node), wrong,
    h("div", { class: "actions end" }, button("Cancel", () => node.close()), yes)));
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
