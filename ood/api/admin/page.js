// Logs in, and shows the view that the address names.

import { KEY, ask, keep, key, lazy, logIn, logOut, session } from "./js/api.js";
import { h, icon, show } from "./js/dom.js";
import { apps, connect, disconnect, link, live } from "./js/live.js";
import { overview } from "./js/overview.js";
import { complain, field, unshown } from "./js/ui.js";

const NAV = [["", "Apps"], ["certificates", "Certificates"], ["services", "Services"], ["events", "Events"],
  ["settings", "Settings"], ["about", "About"]];
const VIEWS = {
  "": overview,
  apps: lazy("./app.js", "appView"),
  certificates: lazy("./certificates.js", "certificatesView"),
  services: lazy("./services.js", "servicesView"),
  events: lazy("./events.js", "eventsView"),
  settings: lazy("./tab-settings.js", "serviceSettings"),
  about: lazy("./about.js", "aboutView"),
};
const SAID = {
  expired: "This link was used or is too old. Make a new one with: ood web",
  refused: "That is not the token. It is in the file api-token of ood's home.",
};
const ASK = "Log in with the token, or with the link that this prints: ood web";
const ENDED = `Your session has ended. ${ASK}`;
const AWAY_MS = 1200;

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const away = document.getElementById("away");
const linkState = document.getElementById("link");
let view = null;
let routes = 0;
let routed = false;
let unloaded = false;
let version = "";
let wait = 0;

nav.append(...NAV.map(([path, word]) => h("a", { href: `#/${path}`, "data-view": path }, word)));

function focusTitle() {
  const title = [...main.querySelectorAll("h1")].find((one) => !one.closest("[hidden]")) ?? main;
  title.focus({ preventScroll: true });
}

/** The parts of the address; one that is no address leads to the overview. */
function place() {
  try {
    return location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return [];
  }
}

async function route() {
  const [name = "", ...rest] = place();
  const make = VIEWS[name] ?? overview;
  routes += 1;
  const mine = routes;
  view?.close?.();
  view = null;
  const root = h("div.view");
  const sameApp = name === "apps" && rest[0] === main.dataset.app;
  main.dataset.app = name === "apps" ? rest[0] : "";
  for (const one of nav.children) {
    const here = one.dataset.view === name || (name === "apps" && !one.dataset.view);
    if (here) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  // A question is about what was shown before.
  for (const one of document.querySelectorAll("dialog")) one.close();
  let made = null;
  unloaded = false;
  try {
    made = await make(root, ...rest);
  } catch (problem) {
    if (problem.status === 401) return;
    unloaded = mine === routes;
    root.replaceChildren(h("h1", { tabindex: "-1" }, "This can't be shown"), unshown(problem, route));
  }
  if (mine !== routes || session.over) {
    made?.close?.();
    return;
  }
  view = made;
  main.replaceChildren(root);
  main.dataset.view = location.hash;
  document.title = view?.title ? `${view.title} – ood` : "ood";
  view?.draw?.();
  if (!sameApp) scrollTo(0, 0);
  for (const one of document.querySelectorAll("nav [aria-current]")) one.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (routed) focusTitle();
  routed = true;
}

live.addEventListener("draw", () => view?.draw?.());

live.addEventListener("again", () => unloaded && route());

live.addEventListener("link", () => {
  clearTimeout(wait);
  const open = link.state === "open";
  linkState.className = `link ${link.state}`;
  linkState.textContent = open ? "Live" : "Connecting";
  if (open) show(away, false);
  else {
    wait = setTimeout(() => {
      away.textContent = "ood does not answer: what you see is how it was. Looking for it …";
      show(away, link.state === "away" && !session.over);
    }, AWAY_MS);
  }
});

// -- log-in

function shell(open) {
  show(nav, open);
  show(linkState, open);
  show(document.getElementById("logout"), open);
}

function enter() {
  session.over = false;
  shell(true);
  connect();
  route();
}

function leave(said) {
  if (session.over) return;
  session.over = true;
  disconnect();
  for (const one of document.querySelectorAll("dialog")) one.close();
  view?.close?.();
  view = null;
  apps.clear();
  link.loaded = false;
  shell(false);
  show(away, false);
  const token = field("token", "Token", h("input", { type: "password", autocomplete: "off", required: true }));
  const button = h("button.btn.primary", "Log in");
  const form = h("form", { id: "login", class: "card login", method: "post", action: "/ui/login" },
    h("h1", { tabindex: "-1" }, "Log in to ood"), h("p", { role: "status" }, said), token.node, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await logIn(token.control.value.trim());
      // Another ood may have begun to answer meanwhile: this page's scripts are of the one before.
      if (version && version !== (await ask("GET", "/version")).ood) location.reload();
      else enter();
    } catch (problem) {
      token.fault(problem.status === 401 ? SAID.refused : problem.message);
      token.control.focus();
    }
    button.disabled = false;
  });
  main.replaceChildren(form);
  document.title = "Log in – ood";
  token.control.focus();
}

session.addEventListener("ended", () => leave(SAID[first] ?? (key() ? ENDED : ASK)));
document.getElementById("logout").addEventListener("click", async () => {
  await logOut().catch(complain);
  leave("You are logged out.");
});

// -- colours

const THEMES = { "": ["auto", "the system's"], light: ["sun", "light"], dark: ["moon", "dark"] };
const themeButton = document.getElementById("theme");
function showTheme() {
  const [picture, word] = THEMES[document.documentElement.dataset.theme ?? ""];
  themeButton.replaceChildren(icon(picture));
  themeButton.title = `Colours: ${word}`;
  themeButton.setAttribute("aria-label", `Colours: ${word}`);
}
themeButton.addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem("ood-theme", next);
  showTheme();
});
showTheme();

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

let first = location.hash.slice(1);
if (first.startsWith("key=")) keep(first.slice(4));
if (first && !first.startsWith("/")) history.replaceState(null, "", location.pathname);
addEventListener("hashchange", () => {
  const now = location.hash.slice(1);
  if (now.startsWith("key=")) location.reload();
  else if (!session.over) route();
});
// Who logs in has done so for every page of this browser.
addEventListener("storage", (event) => event.key === KEY && event.newValue && session.over && location.reload());
try {
  version = (await ask("GET", "/version")).ood;
  first = "";
  enter();
} catch (problem) {
  first = "";
  if (problem.status !== 401) {
    away.textContent = "ood does not answer. Looking for it …";
    show(away, true);
    setTimeout(() => location.reload(), 3000);
  }
}
