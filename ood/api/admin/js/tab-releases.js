// An app's releases: what there is, making one, and going back to one.

import * as actions from "./actions.js";
import { appPath, ask, lines } from "./api.js";
import { List, h, icon, show, text } from "./dom.js";
import { duration, uncoloured, when } from "./format.js";
import { follow, heard, redraw } from "./live.js";
import { badge, button, complain, dialog, empty, field, grid, own, say, showFaults, textInput } from "./ui.js";

const LINES_KEPT = 400;
const UNDONE_MS = 20_000;

/** Deployments that this page began, by app: they go on while other views are looked at. */
const jobs = new Map();

addEventListener("beforeunload", (event) => {
  // They end with the connection.
  if ([...jobs.values()].some((job) => !job.ended)) event.preventDefault();
});

/** Wait until a deployment that was cancelled is taken back; its event says so. */
function undone(name) {
  return new Promise((resolve) => {
    const end = () => {
      deaf();
      resolve();
    };
    const deaf = heard("deploy", name, end);
    setTimeout(end, UNDONE_MS);
  });
}

async function run(name, order, begun) {
  const job = { steps: [], lines: [], lost: 0, elapsed: 0, ended: "", failure: null, abort: new AbortController() };
  const told = (values) => {
    for (const value of values) {
      if (value.step) {
        job.elapsed = value.elapsedMs;
        if (job.steps.at(-1)?.step !== value.step) job.steps.push({ step: value.step, at: value.elapsedMs });
        if (value.line) job.lines.push(value.line);
      } else if (value.error) Object.assign(job, { failure: value.error, ended: "failed" });
      else job.ended = "succeeded";
    }
    if (job.lines.length > LINES_KEPT) job.lost += job.lines.splice(0, job.lines.length - LINES_KEPT).length;
    jobs.set(name, job);
    actions.work.set(name, "Deploying");
    begun();
    redraw();
  };
  try {
    await lines("POST", appPath(name, "deploy"), order, job.abort.signal, told);
    job.ended ||= "failed";
  } catch (problem) {
    if (!jobs.has(name) || jobs.get(name) !== job) throw problem;
    if (problem.name === "AbortError") {
      await undone(name);
      job.ended = "cancelled";
    } else Object.assign(job, { failure: problem, ended: "failed" });
  }
  actions.work.delete(name);
  say(`${name}: the deployment ${job.ended === "cancelled" ? "is cancelled" : `has ${job.ended}`}`, job.ended === "failed" ? "bad" : "ok",
    job.failure?.message ?? "");
  redraw();
}

function deployForm(name) {
  const source = field("source", "From", textInput("the app's own directory"),
    "A directory or an archive on this machine, or a git URL.");
  const ref = field("ref", "Branch, tag or commit", textInput(), "Of a git repository.");
  const build = field("build", "Run the package's build script", h("input", { type: "checkbox" }));
  const fields = [source, ref, build];
  const go = h("button.btn.primary", "Deploy");
  const ready = () => { go.disabled = false; };
  const node = h("form.card.deploy", { novalidate: true, "aria-label": `Deploy ${name}`, onsubmit: async (event) => {
    event.preventDefault();
    const order = {};
    for (const one of [source, ref]) if (one.control.value.trim()) order[one.name] = one.control.value.trim();
    if (build.control.checked) order.build = true;
    showFaults(fields, []);
    go.disabled = true;
    try {
      await run(name, order, () => {});
    } catch (problem) {
      const left = showFaults(fields, problem.faults ?? []);
      if (left.length || !problem.faults?.length) complain(problem);
    }
    ready();
  } }, h("h2", "Deploy"), h("div.fields", source.node, ref.node), build.node, h("div.actions", go));
  return { node, draw: () => { go.disabled = actions.work.has(name); } };
}

function jobView(name) {
  const state = badge("launching");
  const time = h("span.summary");
  const steps = h("ol.steps");
  const output = h("pre.log.output", { tabindex: "0", role: "region", "aria-label": "What the commands write" });
  const failure = h("p.wrong");
  const cancel = button("Cancel", () => {
    jobs.get(name)?.abort.abort();
    actions.work.set(name, "Cancelling");
    redraw();
  }, { class: "btn danger" });
  const node = h("section.card.job", { hidden: true, "aria-label": "Deployment" },
    h("div.heading", h("h2", "Deployment"), state.node, time, h("div.actions", cancel)), steps, failure, output);
  const stepRows = new List(steps, ({ step }) => {
    const at = h("small");
    const item = h("li", step, " ", at);
    return { node: item, update: (one) => { text(at, duration(one.at)); item.className = one.last ? "last" : ""; } };
  });
  const states = { "": "launching", succeeded: "online", failed: "errored", cancelled: "stopped" };
  return {
    node,
    draw() {
      const job = jobs.get(name);
      show(node, job);
      if (!job) return;
      state.set(states[job.ended]);
      text(state.node.lastChild, job.ended || "running");
      text(time, duration(job.elapsed));
      job.steps.forEach((one, at) => { one.last = !job.ended && at === job.steps.length - 1; });
      stepRows.update(job.steps, (one) => `${one.at} ${one.step}`);
      show(output, job.lines.length || job.failure?.log?.length);
      const end = output.scrollHeight - output.scrollTop - output.clientHeight < 20;
      const written = [job.lost ? `… ${job.lost} lines before` : null, ...job.lines, ...(job.failure?.log ?? [])];
      text(output, uncoloured(written.filter((one) => one !== null).join("\n")));
      if (end) output.scrollTop = output.scrollHeight;
      show(failure, job.failure);
      text(failure, job.failure ? [job.failure.message, job.failure.hint].filter(Boolean).join(". ") : "");
      show(cancel, !job.ended);
    },
  };
}

export async function releasesTab(root, name) {
  const form = deployForm(name);
  const job = jobView(name);
  const none = empty("There is no release yet: the app runs what is in its directory.");
  const back = (release, words) => dialog({
    title: "Roll back?", ok: "Roll back", body: h("p", `${name} runs ${words} then, without an interruption.`),
    submit: async () => void actions.rollback(name, release),
  });
  const acts = own(({ name: release }) => {
    const current = h("span.badge.ok", icon("online"), "current");
    const act = button("Roll back", () => back(release, release), { "aria-label": `Roll back to ${release}` });
    return [[current, act], (one) => {
      show(current, one.current);
      show(act, !one.current);
      act.disabled = actions.work.has(name);
    }];
  });
  const all = grid("Releases", "", [["Release", "name", (one) => one.name], ["Made", "", (one) => when(one.time)],
    ["From", "source", (one) => one.source], ["", "acts", acts]], (one) => one.name);
  const cwd = button("Run its own directory", () => back("cwd", "what is in its own directory"));
  root.append(form.node, job.node,
    h("div.heading", h("h2", "Releases"), h("div.actions", cwd)), all.node, none);
  let releases = [];
  let known = null;
  let closed = false;
  async function load() {
    try {
      ({ releases } = await ask("GET", appPath(name, "releases")));
      redraw();
    } catch (problem) {
      if (!closed) complain(problem);
    }
  }
  const deaf = follow("deploy", name, load);
  await load();
  return {
    draw(app) {
      if (known !== null && known !== app.release) load();
      known = app.release;
      form.draw();
      job.draw();
      all.update(releases);
      show(none, !releases.length);
      show(cwd, app.release && app.cwd);
      cwd.disabled = actions.work.has(name);
    },
    close() {
      closed = true;
      deaf();
    },
  };
}
