// Why workers died, as `ood why` says it.

import { appPath, ask } from "./api.js";
import { List, h, show, text } from "./dom.js";
import { bytes, duration, uncoloured, when } from "./format.js";
import { follow } from "./live.js";
import { complain, empty } from "./ui.js";

function block(title, lines) {
  return lines.length > 0 && [h("h3", title), h("pre.log.output", { tabindex: "0", role: "region", "aria-label": title }, uncoloured(lines.join("\n")))];
}

function death(one) {
  const facts = [`ran ${duration(one.uptimeMs)}`, one.memoryBytes && `${bytes(one.memoryBytes)} of memory`,
    one.memoryGrowth && `growing ${bytes(one.memoryGrowth)} a minute`, one.pid && `PID ${one.pid}`, one.release && `release ${one.release}`];
  const requests = one.requests.map(({ method, path, ageMs }) => `${method} ${path}${ageMs === null ? "" : `, for ${duration(ageMs)}`}`);
  return {
    node: h("details.card.death", { open: one.newest },
      h("summary", h("time", { datetime: one.time }, when(one.time)), h("b", `Worker ${one.instance}: ${one.reason}`),
        one.error && h("code.bad", one.error)),
      one.explanation && h("p", one.explanation),
      one.advice && h("p.advice", one.advice),
      h("p.doc", facts.filter(Boolean).join(" · ")),
      block("Requests in flight", requests), block("Where it was", [...one.stack]), block("Its last lines", [...one.log])),
  };
}

export async function deathsTab(root, name) {
  const pattern = h("p.card.notice", { hidden: true });
  const list = h("div.stack");
  const none = empty("No worker has died unexpectedly.");
  root.append(h("h2.unseen", "Deaths"), pattern, list, none);
  const rows = new List(list, death);
  let timer = 0;
  async function load() {
    try {
      const { deaths, pattern: said } = await ask("GET", appPath(name, "deaths"));
      show(pattern, said);
      text(pattern, said);
      if (deaths.length) deaths[0].newest = true;
      rows.update(deaths, (one) => `${one.time} ${one.instance} ${one.log.length}`);
      show(none, !deaths.length);
    } catch (problem) {
      complain(problem);
    }
  }
  // What is known of a death comes together a moment after it.
  const deaf = follow("death", name, () => {
    clearTimeout(timer);
    timer = setTimeout(load, 700);
  });
  await load();
  return {
    close() {
      clearTimeout(timer);
      deaf();
    },
  };
}
