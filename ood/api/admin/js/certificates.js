// Every certificate, and every lack of one.

import { ask } from "./api.js";
import { h, show, text } from "./dom.js";
import { day, when } from "./format.js";
import { follow } from "./live.js";
import { button, complain, dialog, empty, field, grid, heading, hostName, own, say, stateOf, textInput } from "./ui.js";

const path = (name, ...rest) => ["/certificates", encodeURIComponent(name), ...rest].join("/");
const SOURCES = { acme: "CA", file: "files", "self-signed": "self-signed" };

function add(load) {
  const one = (name, label, doc) => field(name, label, textInput(), doc);
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

const names = own(({ name }) => {
  const others = h("small");
  return [[h("span", hostName(name)), others], (one) => text(others, one.names.filter((each) => each !== name).join(", "))];
});

const acts = (load) => own(({ name }) => {
  const renew = button("Renew", async () => {
    renew.disabled = true;
    text(renew, "Renewing …");
    await ask("POST", path(name, "renew")).then(() => say(`${name} is renewed`), complain);
    text(renew, "Renew");
    renew.disabled = false;
    load();
  }, { "aria-label": `Renew ${name}` });
  const remove = button("Remove", () => dialog({
    title: `Remove the certificate ${name}?`, ok: "Remove", tone: "danger", body: h("p", "ood forgets it. Files of your own stay."),
    submit: async () => {
      await ask("DELETE", path(name));
      say(`${name} is removed`);
      load();
    },
  }), { class: "btn danger", "aria-label": `Remove ${name}` });
  return [[renew, remove], (one) => show(renew, one.source === "acme")];
});

export async function certificatesView(root) {
  const all = grid("Certificates", "", [
    ["Name", "name", names],
    ["State", "", stateOf((one) => (one.state === "pending" && one.trouble ? "waiting" : one.state), (one) => [one.trouble, one.nextTry && `next try ${when(one.nextTry)}`].filter(Boolean).join("; "))],
    ["From", "less", (one) => [SOURCES[one.source] ?? one.source, one.issuer].filter(Boolean).join(": ")],
    ["Expires", "n", (one) => day(one.notAfter)],
    ["Apps", "less whole", (one) => one.apps.join(", ") || "–"],
    ["", "acts", acts(() => load())],
  ], (one) => one.name);
  const none = empty("There is no certificate. Those of a CA come by themselves once an app has a public name and acmeAgreeTos is set; "
    + "your own are added here.");
  none.hidden = true;
  root.append(heading("Certificates", button("Add certificate", () => add(load), { class: "btn primary", picture: "plus" })), all.node, none);
  async function load() {
    try {
      const { certificates } = await ask("GET", "/certificates");
      all.update(certificates);
      show(none, !certificates.length);
    } catch (problem) {
      complain(problem);
    }
  }
  const deaf = follow("certificate", null, load);
  await load();
  return { title: "Certificates", close: deaf };
}
