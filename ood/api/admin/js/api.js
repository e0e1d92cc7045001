// Requests to ood, each with the session's key.

const KEY = "ood-key";
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

async function send(method, path, body, signal) {
  const headers = { "X-Requested-With": "ood", "X-Ood-Key": key() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const url = ROOT.test(path) ? path : PREFIX + path;
  let answer;
  try {
    answer = await fetch(url, {
      method, headers, signal, cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { code: "away", message: "ood does not answer", hint: "Is it running? See: ood status" });
  }
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
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    const values = parts.filter(Boolean).map((part) => JSON.parse(part));
    if (values.length) told(values);
  }
}

export async function logIn(token) {
  const answer = await fetch("/ui/login", {
    method: "POST",
    headers: { Accept: "application/json" },
    body: new URLSearchParams({ token }),
  });
  if (!answer.ok) throw await problem(answer);
  keep((await answer.json()).key);
}

export async function logOut() {
  await fetch("/ui/logout", { method: "POST", headers: { "X-Requested-With": "ood", "X-Ood-Key": key() } });
  localStorage.removeItem(KEY);
}
