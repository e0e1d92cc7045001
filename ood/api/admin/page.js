// Logs in and lists the apps.

const said = document.getElementById("said");
const list = document.getElementById("apps");
const KEY = "ood-key";

function takeKey() {
  const hash = location.hash.slice(1);
  if (hash.startsWith("key=")) localStorage.setItem(KEY, hash.slice(4));
  if (hash) history.replaceState(null, "", location.pathname);
  return hash;
}

function showLogin(text) {
  said.textContent = text;
  document.getElementById("login").hidden = false;
}

function show(apps) {
  list.replaceChildren(...Object.values(apps).map((app) => {
    const line = document.createElement("li");
    line.textContent = `${app.name}: ${app.state}`;
    return line;
  }));
}

const hash = takeKey();
const key = localStorage.getItem(KEY) ?? "";
const headers = { "X-Requested-With": "ood", "X-Ood-Key": key };
const answer = await fetch("/api/v1/version", { headers });
if (answer.ok) {
  said.textContent = `ood ${(await answer.json()).ood}`;
  const apps = {};
  const source = new EventSource(`/api/v1/events?key=${encodeURIComponent(key)}`);
  source.addEventListener("status", (event) => {
    const change = JSON.parse(event.data);
    if (change.full) Object.keys(apps).forEach((name) => delete apps[name]);
    change.removed.forEach((name) => delete apps[name]);
    for (const [name, fields] of Object.entries(change.apps)) {
      apps[name] = { ...apps[name], ...fields };
    }
    show(apps);
  });
} else if (hash === "expired") {
  showLogin("This link was used or is too old. Make a new one with: ood web");
} else if (hash === "refused") {
  showLogin("That is not the token. It is in the file api-token of ood's home.");
} else {
  showLogin("Log in with the token, or with the link that this prints: ood web");
}
