// An app's charts and facts.

import { chart } from "./charts.js";
import { h, show, text } from "./dom.js";
import { feed } from "./events.js";
import { bytes, day, ms, number, percent } from "./format.js";
import { series } from "./live.js";

const CHARTS = [
  ["Requests per second", [["", "one"]], number, 1, ["requests"]],
  ["Latency", [["p95", "two"], ["p50", "one"]], ms, 5, ["p95", "p50"]],
  ["Errors per second", [["", "bad"]], number, 1, ["errors"]],
  ["CPU", [["", "one"]], percent, 5, ["cpu"]],
  ["Memory", [["", "one"]], bytes, 2 ** 20 * 10, ["memory"], 2 ** 20],
  ["Event loop lag", [["", "two"]], ms, 10, ["lag"]],
];
const OF_PROGRAMS = new Set(["cpu", "memory", "lag"]);

function https(certificate) {
  if (!certificate || certificate.state === "none") return "";
  const until = certificate.notAfter ? `, until ${day(certificate.notAfter)}` : "";
  return `${certificate.state}${until}`;
}

export function appState(root, name) {
  const drawn = CHARTS.map(([title, lines, format, least, kinds, unit]) => ({ ...chart(title, lines, format, least, unit), kinds }));
  const urls = h("dd.urls");
  let known = "";
  const values = Object.fromEntries(["Directory", "Port", "User", "HTTPS", "Looks at requests for"].map((word) => [word, h("dd")]));
  const pairs = Object.entries(values).map(([word, node]) => h("div", h("dt", word), node));
  const last = feed({ many: 8, wanted: (event) => event.app === name && event.kind !== "worker" });
  root.append(
    h("h2.unseen", "The last five minutes"),
    h("div.charts", drawn.map((one) => one.node)),
    h("div.halves", {},
      h("section", h("h2", "About"), h("dl.card.facts", h("div", h("dt", "Addresses"), urls), pairs)),
      h("section", h("h2", "Recent events"), last.node)));
  return {
    draw(app) {
      for (const one of drawn) {
        const here = app.type === "node" || !OF_PROGRAMS.has(one.kinds[0]);
        show(one.node, here);
        if (here) one.update(...one.kinds.map((kind) => series(name, kind)));
      }
      const joined = app.urls.join(" ");
      if (joined !== known || !urls.firstChild) {
        known = joined;
        urls.replaceChildren(...app.urls.map((url) => h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, url)));
        if (!joined) urls.append("–");
      }
      const said = { Directory: app.cwd, Port: app.type === "node" ? app.port : "", User: app.user, HTTPS: https(app.certificate),
        "Looks at requests for": app.proxiedBecause.join(", ") };
      for (const [word, node] of Object.entries(values)) {
        text(node, said[word]);
        show(node.parentNode, said[word]);
      }
      last.draw();
    },
  };
}
