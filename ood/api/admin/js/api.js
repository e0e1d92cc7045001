// Requests to ood, each with the session's key.

export const KEY = "ood-key";
const PREFIX = "/api/v1";
const ROOT = /^\/(services|openapi)/;

export const session = new EventTarget();

export function key() {
  return localStorage.getItem(KEY) ?? "";
}

export function keep(value) {
  localStorage.setItem(KEY, value);
}

/** What ood said against a request. */
export class Problem extends Error {
  constructor(status, { code = "", message, hint = "", faults = [], log = [] }) {
    super(message);
    Object.assign(this, { status, code, hint, faults, log });
  }
}

export function appPath(name, ...rest) {
  return ["/apps", encodeURIComponent(name), ...rest].join("/");
}

async function problem(answer) {
  let said = {};
  try {
    said = (await answer.json()).error ?? {};
  } catch {
    // Not ood's own words: the status has to do.
  }
  if (typeof said === "string") said = { message: said };
  if (answer.status === 401) session.dispatchEvent(new Event("ended"));
  return new Problem(answer.status, { message: `ood answered ${answer.status}`, ...said });
}

const unreachable = () => new Problem(0, { code: "away", message: "ood does not answer", hint: "Is it running? See: ood status" });

/** Say in words what a browser only calls a network error. */
async function reached(work) {
  try {
    return await work;
  } catch (error) {
    throw error instanceof TypeError ? unreachable() : error;
  }
}

/** A view in a file that is loaded when it is first wanted. */
export const lazy = (file, name) => async (...given) => (await reached(import(file)))[name](...given);

async function send(method, path, body, signal) {
  const headers = { "X-Requested-With": "ood", "X-Ood-Key": key() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const url = ROOT.test(path) ? path : PREFIX + path;
  const answer = await reached(fetch(url, {
    method, headers, signal, cache: "no-store",
    body: body === undefined ? undefined : JSON.stringify(body),
  }));
  if (!answer.ok) throw await problem(answer);
  return answer;
}

/** Ask for a value. */
export async function ask(method, path, body, signal) {
  const answer = await send(method, path, body, signal);
  return answer.status === 204 ? null : answer.json();
}

/** Read one JSON value a line, as they come. */
export async function lines(method, path, body, signal, told) {
  const answer = await send(method, path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reached(reader.read());
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    const values = parts.filter(Boolean).map((part) => JSON.parse(part));
    if (values.length) told(values);
  }
}

export async function logIn(token) {
  const answer = await reached(fetch("/ui/login", {
    method: "POST",
    headers: { Accept: "application/json" },
    body: new URLSearchParams({ token }),
  }));
  if (!answer.ok) throw await problem(answer);
  keep((await answer.json()).key);
}

export async function logOut() {
  const headers = { "X-Requested-With": "ood", "X-Ood-Key": key() };
  // Without it the session is of no use here, whether ood hears of it or not.
  localStorage.removeItem(KEY);
  await reached(fetch("/ui/logout", { method: "POST", headers }));
}
