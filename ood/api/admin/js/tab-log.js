// An app's log: the last lines and those to come, filtered here.

import { appPath, lines } from "./api.js";
import { h, text } from "./dom.js";
import { clock, count, uncoloured } from "./format.js";
import { link, live } from "./live.js";
import { button, complain, searchInput } from "./ui.js";

const KEPT = 2000;
const SHOWN = 600;
const AGAIN_MS = 2000;

export function logTab(root, name) {
  const find = searchInput("Filter lines");
  const stream = h("select", { "aria-label": "Stream" },
    [["", "All output"], ["out", "stdout"], ["err", "stderr"], ["ood", "ood's remarks"], ["access", "Access log"]]
      .map(([value, word]) => h("option", { value }, word)));
  const worker = h("select", { "aria-label": "Worker" }, h("option", { value: "" }, "All workers"));
  const wrap = h("input", { type: "checkbox", id: "log-wrap" });
  wrap.checked = true;
  const pause = button("Pause", () => setPaused(!paused), { "aria-pressed": "false" });
  const said = h("p.summary", { role: "status" });
  const box = h("div.log", { role: "log", tabindex: "0", "aria-label": `Log of ${name}`, "aria-live": "off" });
  root.append(h("div.toolbar", find, stream, worker, pause, h("label.inline", { for: "log-wrap" }, wrap, "Wrap lines")), said, box);

  let kept = [];
  let waiting = [];
  let paused = false;
  let stick = true;
  let frame = 0;
  let reader = null;
  let missed = 0;
  let timer = 0;
  const workers = new Set();

  const fits = (line) => (!worker.value || String(line.instance) === worker.value)
    && (!stream.value || stream.value === line.stream)
    && (!find.value || line.text.toLowerCase().includes(find.value.toLowerCase()));

  function made(line) {
    const who = line.instance < 0 ? "ood" : line.instance;
    return h("div", { class: `l ${line.stream}` }, h("time", { datetime: line.time }, clock(line.time)),
      h("span.who", { title: line.stream }, who), h("span.what", uncoloured(line.text)));
  }

  function bottom() {
    if (stick) box.scrollTop = box.scrollHeight;
  }

  function tell() {
    const fit = kept.filter(fits).length;
    const some = fit === kept.length ? count(fit, "line") : `${fit} of ${count(kept.length, "line")}`;
    const more = fit > SHOWN ? `, the last ${SHOWN} are shown` : "";
    text(said, paused ? `${some}; paused, ${missed} newer` : some + more);
  }

  function redrawAll() {
    box.replaceChildren(...kept.filter(fits).slice(-SHOWN).map(made));
    bottom();
    tell();
  }

  function flush() {
    frame = 0;
    if (paused) return void tell();
    const fresh = waiting;
    waiting = [];
    kept = kept.concat(fresh).slice(-KEPT);
    for (const { instance } of fresh) {
      if (instance < 0 || workers.has(instance)) continue;
      workers.add(instance);
      const options = [...workers].sort((one, other) => one - other).map((one) => h("option", { value: one }, `Worker ${one}`));
      const chosen = worker.value;
      worker.replaceChildren(worker.firstChild, ...options);
      worker.value = chosen;
    }
    box.append(...fresh.slice(-SHOWN).filter(fits).map(made));
    while (box.childElementCount > SHOWN) box.firstElementChild.remove();
    bottom();
    tell();
  }

  function setPaused(on) {
    paused = on;
    pause.setAttribute("aria-pressed", String(on));
    text(pause, on ? "Go on" : "Pause");
    missed = 0;
    flush();
    back();
  }

  /** Take lines over; a tab that nobody looks at draws nothing, and still keeps no more. */
  function take(values) {
    waiting.push(...values);
    if (paused) missed += values.length;
    if (waiting.length > 2 * KEPT) waiting = waiting.slice(-KEPT);
    frame ||= requestAnimationFrame(flush);
  }

  async function read() {
    reader?.abort();
    const mine = reader = new AbortController();
    kept = [];
    waiting = [];
    redrawAll();
    const only = stream.value === "access" ? "&stream=access" : "";
    try {
      await lines("GET", `${appPath(name, "log")}?lines=500&follow=true${only}`, undefined, mine.signal, take);
    } catch (problem) {
      if (mine.signal.aborted || problem.name === "AbortError") return;
      if (problem.status) complain(problem);
    }
    if (reader !== mine) return;
    if (link.state === "open" && !paused) timer = setTimeout(() => reader === mine && read(), AGAIN_MS);
    else reader = null;
  }

  box.addEventListener("scroll", () => {
    stick = box.scrollHeight - box.scrollTop - box.clientHeight < 30;
  });
  find.addEventListener("input", redrawAll);
  worker.addEventListener("input", redrawAll);
  let access = false;
  stream.addEventListener("input", () => {
    if (access === (stream.value === "access")) redrawAll();
    else {
      access = !access;
      read();
    }
  });
  wrap.addEventListener("change", () => box.classList.toggle("nowrap", !wrap.checked));
  // While the log is paused its lines stay, whatever becomes of the connection.
  function back() {
    if (link.state === "open" && !reader && !paused) read();
    if (!["away", "resting"].includes(link.state)) return;
    reader?.abort();
    reader = null;
  }
  live.addEventListener("link", back);
  read();
  return {
    close() {
      live.removeEventListener("link", back);
      clearTimeout(timer);
      cancelAnimationFrame(frame);
      reader?.abort();
    },
  };
}
