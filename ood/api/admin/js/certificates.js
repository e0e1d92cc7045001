// Every certificate, and every lack of one.

import { ask } from "./api.js";
import { List, h, show, text } from "./dom.js";
import { day, when } from "./format.js";
import { live } from "./live.js";
import { badge, button, cell, complain, dialog, empty, field, heading, row, say, table } from "./ui.js";

const path = (name, ...rest) => ["/certificates", encodeURIComponent(name), ...rest].join("/");
const SOURCES = { acme: "CA", file: "files", "self-signed": "self-signed" };

function add(load) {
  const one = (name, label, doc) => field(name, label, h("input", { type: "text", spellcheck: "false", autocomplete: "off" }), doc);
  const fields = [one("cert", "Certificate", "Absolute path of a PEM file on this machine."), one("key", "Private key", "Without a pass phrase."),
    one("chain", "Chain", "If it is in a file of its own.")];
  dialog({
    title: "Add a certificate", ok: "Add", fields,
    submit: async () => {
      const given = fields.filter(({ control }) => control.value.trim());
      const made = await ask("POST", "/certificates", Object.fromEntries(given.map(({ name, control }) => [name, control.value.trim()])));
      say(`${made.name} is added`);
      load();
    },
  });
}

export async function certificatesView(root) {
  const all = table("Certificates", [["Name", "name"], ["State", ""], ["From", ""], ["Expires", "n"], ["Apps", ""], ["", "tools"]], { class: "cards" });
  const none = empty("There is no certificate. Those of a CA come by themselves once an app has a public name and acmeAgreeTos is set; "
    + "your own are added here.");
  root.append(heading("Certificates", button("Add certificate", () => add(load), { class: "btn primary", picture: "plus" })), all.node, none);
  const rows = new List(all.body, ({ name }) => {
    const state = badge("valid");
    const trouble = h("small", { class: "reason" }), names = h("small", {}), from = h("span", {}), until = h("span", {}), apps = h("span", {});
    const renew = button("Renew", async () => {
      renew.disabled = true;
      say(`${name} is being renewed`);
      await ask("POST", path(name, "renew")).then(() => say(`${name} is renewed`), complain);
      renew.disabled = false;
      load();
    }, { "aria-label": `Renew ${name}` });
    const remove = button("Remove", () => dialog({
      title: `Remove the certificate ${name}?`, ok: "Remove", tone: "danger", body: h("p", {}, "ood forgets it. Files of your own stay."),
      submit: async () => {
        await ask("DELETE", path(name));
        say(`${name} is removed`);
        load();
      },
    }), { class: "btn danger", "aria-label": `Remove ${name}` });
    return {
      node: row({}, cell("Name", "name", h("b", {}, name), names), cell("State", "", state.node, trouble), cell("From", "", from),
        cell("Expires", "n", until), cell("Apps", "", apps), cell("", "tools", renew, remove)),
      update(one) {
        state.set(one.state);
        text(names, one.names.filter((each) => each !== name).join(", "));
        text(trouble, [one.trouble, one.nextTry && `next try ${when(one.nextTry)}`].filter(Boolean).join("; "));
        text(from, [SOURCES[one.source] ?? one.source, one.issuer].filter(Boolean).join(": "));
        text(until, day(one.notAfter));
        text(apps, one.apps.join(", ") || "–");
        show(renew, one.source === "acme");
      },
    };
  });
  let failed = false;
  async function load() {
    try {
      const { certificates } = await ask("GET", "/certificates");
      rows.update(certificates, (one) => one.name);
      show(all.node, certificates.length);
      show(none, !certificates.length);
    } catch (problem) {
      if (!failed) complain(problem);
      failed = true;
      show(all.node, false);
    }
  }
  const heard = ({ detail }) => detail.kind === "certificate" && load();
  live.addEventListener("happened", heard);
  await load();
  return { title: "Certificates", close: () => live.removeEventListener("happened", heard) };
}
