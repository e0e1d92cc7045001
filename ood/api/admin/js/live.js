// How everything is: one stream of events, and the last five minutes of each app.

import { ask, key, session } from "./api.js";

export const SAMPLES = 300;
export const SERIES = ["requests", "p50", "p95", "errors", "cpu", "memory", "lag"];
const EVENTS_KEPT = 400;
const HIDDEN_MS = 60_000;
const SILENT_MS = 10_000;
const ANSWER_MS = 8_000;
const EVENT_KINDS = ["worker", "death", "errored", "recovered", "restart", "deploy", "configured",
  "certificate", "health"];

/** The apps by name, as the API tells them, each with sums over its workers in `sum`. */
export const apps = new Map();
/** What happened, newest first. */
export const events = [];
export const live = new EventTarget();
export const link = { state: "", loaded: false };

const past = new Map();
let head = 0;
let samples = 0;
let sampled = 0;
let source = null;
let opens = 0;
let fallback = 0;
let frame = 0;
let changed = false;
let heardAt = 0;
let asking = false;

/** A series of an app: `value(age)` with the age in samples, NaN where nothing is known. */
export function series(name, kind) {
  const values = past.get(name)?.[SERIES.indexOf(kind)];
  return (age) => (values && age < samples ? values[(head - 1 - age + 2 * SAMPLES) % SAMPLES] : NaN);
}

/** Call `told` with events of a kind, of one app if it is named; returns what ends that. */
export function heard(kind, app, told) {
  const listener = ({ detail }) => detail.kind === kind && (app === null || detail.app === app) && told(detail);
  live.addEventListener("happened", listener);
  return () => live.removeEventListener("happened", listener);
}

/** Call `load` as `heard` does, and without an event when the stream is back: more may have happened. */
export function follow(kind, app, load) {
  const deaf = heard(kind, app, load);
  const again = () => load();
  live.addEventListener("again", again);
  return () => {
    deaf();
    live.removeEventListener("again", again);
  };
}

export function sorted() {
  return [...apps.values()].sort((one, other) => one.name.localeCompare(other.name));
}

function sum(app) {
  let cpu = 0, memory = 0, online = 0;
  const parts = app.type === "proxy" ? app.upstreams : app.workers;
  for (const part of parts) {
    cpu += part.cpuPercent ?? 0;
    memory += part.memoryBytes ?? 0;
    online += part.state === "online";
  }
  const wanted = app.type === "proxy" ? parts.length : app.type === "static" ? 0 : app.wanted;
  app.sum = { cpu, memory, online, wanted, parts: app.type === "proxy" ? "upstream" : "worker" };
}

const now = (app) => [app.requestsPerSecond, app.latencyP50Ms ?? NaN, app.latencyP95Ms ?? NaN,
  app.errorsPerSecond, app.sum.cpu, app.sum.memory, app.loopLagMs ?? NaN];

function sample() {
  const second = Math.round(performance.now() / 1000);
  const missed = sampled ? second - sampled : 1;
  if (missed < 1) return;
  sampled = second;
  const steps = Math.min(missed, SAMPLES);
  for (const [name, app] of apps) {
    let rings = past.get(name);
    if (!rings) past.set(name, (rings = SERIES.map(() => new Float32Array(SAMPLES).fill(NaN))));
    const values = now(app);
    for (let step = 0; step < steps; step += 1) {
      const at = (head + step) % SAMPLES;
      // One second without news is news that nothing changed; more is not known.
      const known = step === steps - 1 || steps < 4;
      for (let one = 0; one < values.length; one += 1) rings[one][at] = known ? values[one] : NaN;
    }
  }
  head = (head + steps) % SAMPLES;
  samples = Math.min(samples + steps, SAMPLES);
}

/** Have the views drawn anew with the next frame, however many changes come before it. */
export function redraw() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    live.dispatchEvent(new Event("draw"));
  });
}

function tick() {
  clearTimeout(fallback);
  fallback = setTimeout(tick, 1300);
  if (performance.now() - heardAt > SILENT_MS) probe();
  if (link.state === "open") sample();
  if (!document.hidden) redraw();
}

function born(workers) {
  for (const worker of workers) worker.since = Date.now() - worker.uptimeMs;
}

/**
 * Ask whether ood is still there: a tunnel that hangs, or a machine that was asleep, leaves a
 * connection that looks open and never tells anything again. Where all is idle, ood is silent, too.
 */
async function probe() {
  if (asking || !source) return;
  asking = true;
  const mine = source;
  const late = AbortSignal.timeout(ANSWER_MS);
  const problem = await ask("GET", "/version", undefined, late).then(() => null, (error) => error);
  asking = false;
  if (mine !== source || problem?.status === 401) return;
  if (problem) set("away");
  else if (link.state === "open") heardAt = performance.now();
  else connect();
}

function apply({ full, apps: fields, removed }) {
  if (full) {
    for (const name of [...apps.keys()]) if (!(name in fields)) apps.delete(name);
  }
  for (const name of removed) {
    apps.delete(name);
    past.delete(name);
  }
  for (const [name, { workers, ...rest }] of Object.entries(fields)) {
    let app = apps.get(name);
    if (!app) apps.set(name, (app = { workers: [], upstreams: [] }));
    Object.assign(app, rest);
    if (Array.isArray(workers)) {
      born(workers);
      app.workers = workers;
    } else {
      for (const [at, some] of Object.entries(workers ?? {})) Object.assign(app.workers[at], some);
    }
    sum(app);
  }
  link.loaded = true;
  heardAt = performance.now();
  tick();
}

function happened({ data, lastEventId }) {
  const event = JSON.parse(data);
  // Each run of the service numbers its events from 1 on.
  [event.run] = lastEventId.split(".");
  if (events.some((one) => one.id === event.id && one.run === event.run)) return;
  const at = events.findIndex((one) => one.id < event.id || one.run !== event.run);
  events.splice(at < 0 ? events.length : at, 0, event);
  events.length = Math.min(events.length, EVENTS_KEPT);
  live.dispatchEvent(new CustomEvent("happened", { detail: event }));
  redraw();
}

function set(state) {
  if (link.state === state) return;
  link.state = state;
  live.dispatchEvent(new Event("link"));
}

export function connect() {
  disconnect();
  set("connecting");
  heardAt = performance.now();
  tick();
  const opened = source = new EventSource(`/api/v1/events?last=${EVENTS_KEPT}&key=${encodeURIComponent(key())}`);
  opened.addEventListener("open", () => {
    heardAt = performance.now();
    set("open");
    if (opens) live.dispatchEvent(new Event("again"));
    opens += 1;
  });
  opened.addEventListener("status", ({ data }) => apply(JSON.parse(data)));
  // More was missed than ood has kept for who comes back: begin as a page that was just opened.
  opened.addEventListener("reset", () => opened === source && connect());
  for (const kind of EVENT_KINDS) opened.addEventListener(kind, happened);
  opened.addEventListener("error", () => lost(opened));
}

/** A browser comes back by itself after a lost connection, but not after a refusal. */
async function lost(opened) {
  if (opened !== source) return;
  set("away");
  if (opened.readyState !== EventSource.CLOSED) return;
  source = null;
  try {
    await ask("GET", "/version");
  } catch (problem) {
    if (problem.status === 401) return;
  }
  setTimeout(() => link.state === "away" && !source && !session.over && connect(), 2000);
}

export function disconnect() {
  source?.close();
  source = null;
  clearTimeout(fallback);
}

/** Let go of the connection, and have the views let go of theirs, until the page is looked at. */
function rest() {
  disconnect();
  set("resting");
}

// A browser has six connections for all its tabs here: a tab that nobody sees gives its own back.
document.addEventListener("visibilitychange", () => {
  clearTimeout(changed);
  if (!document.hidden && !source && !session.over) connect();
  else if (document.hidden) changed = setTimeout(() => !session.over && rest(), HIDDEN_MS);
});
