"""Checks of the service: does it run, may it do what it shall, does everything answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ood.cli.doctor.facts import FAIL, OK, WARN, Facts, Finding, Listener
from ood.cli.status import is_as_wanted
from ood.cli.systemd import UNIT_NAME
from ood.model.apptypes import NODE
from ood.paths import DOCUMENT_FILE, TOKEN_FILE

DAYS_FEW = 14
"""A certificate of a CA is renewed well before; less means that this did not work."""


def check_service(facts: Facts) -> Iterator[Finding]:
    """The service answers, and is the one that is installed."""
    if not facts.service_version:
        level = WARN if facts.forbidden else FAIL
        yield Finding(level, "service", facts.service_fault, _start(facts))
    elif facts.service_version != facts.version:
        text = f"ood {facts.service_version} runs, but {facts.version} is installed"
        yield Finding(WARN, "service", text, _restart(facts))
    else:
        yield Finding(OK, "service", f"ood {facts.version} runs with the home {facts.home}")


def _start(facts: Facts) -> str:
    if facts.unit is not None and facts.unit.installed and not facts.forbidden:
        return f"systemctl start {UNIT_NAME}; why it stopped: journalctl -u {UNIT_NAME} -n 50"
    return facts.service_fix


def _restart(facts: Facts) -> str:
    if facts.unit is not None and facts.unit.installed:
        return f"systemctl restart {UNIT_NAME}"
    return "stop it, and start it again"


def check_unit(facts: Facts) -> Iterator[Finding]:
    """Systemd starts the service with the machine."""
    unit = facts.unit
    if unit is None:
        return
    if not unit.installed:
        text = "ood is no service of this machine: it is gone after a restart"
        yield Finding(WARN, "systemd", text, "sudo ood install")
    elif unit.enabled not in {"enabled", "enabled-runtime"}:
        text = f"{UNIT_NAME} is {unit.enabled or 'not enabled'}: it does not start with the machine"
        yield Finding(WARN, "systemd", text, f"systemctl enable {UNIT_NAME}")
    elif unit.active != "active":
        fix = f"systemctl start {UNIT_NAME}; why: journalctl -u {UNIT_NAME} -n 50"
        yield Finding(FAIL, "systemd", f"{UNIT_NAME} is {unit.active}", fix)
    else:
        yield Finding(OK, "systemd", f"{UNIT_NAME} is active and starts with the machine")


def check_document(facts: Facts) -> Iterator[Finding]:
    """The configuration can be read."""
    if facts.document is not None:
        names = ", ".join(facts.document.apps) or "none yet"
        yield Finding(OK, "config", f"the configuration in {facts.home} is right; apps: {names}")
        return
    level = FAIL if facts.root else WARN
    fix = f"sudo ood doctor, or put an earlier one back from {facts.home}/versions"
    yield Finding(level, "config", facts.document_fault, fix)


def check_rights(facts: Facts) -> Iterator[Finding]:
    """Nobody else reads what is secret, and changes what is trusted."""
    for name, owned in facts.owned.items():
        path = f"{facts.home}/{name}".rstrip("/.")
        others = 0o077 if name in {TOKEN_FILE, DOCUMENT_FILE} else 0o022
        if not owned.ours and owned.owner != "root":
            text = f"{path} belongs to {owned.owner}"
            yield Finding(WARN, "rights", text, f"chown {facts.user} {path}")
        elif owned.mode & others:
            what = "read" if others & 0o044 else "change"
            text = f"others may {what} {path} (mode {owned.mode:o})"
            yield Finding(FAIL, "rights", text, f"chmod go-rwx {path}")
        else:
            yield Finding(OK, "rights", f"{path} is {owned.owner}'s alone (mode {owned.mode:o})")


def check_ports(facts: Facts) -> Iterator[Finding]:
    """The service has the ports that it shall have, or can get them."""
    for key, port in facts.ports.items():
        holder = facts.listeners.get(port)
        free = _free_fix(facts, key, port)
        if holder is not None and not _is_service(facts, holder):
            text = f"port {port} ({key}) is held by {holder}"
            yield Finding(FAIL, "ports", text, f"stop that program, or {free}")
        elif holder is not None:
            yield Finding(OK, "ports", f"ood listens on port {port} ({key})")
        elif port < facts.first_free_port and not facts.root and not facts.service_version:
            text = f"{facts.user} may not listen on port {port} ({key})"
            yield Finding(FAIL, "ports", text, f"sudo ood install, or {free}")
        elif facts.service_version:
            text = f"nobody listens on port {port} ({key})"
            yield Finding(WARN if key == "httpPort" else OK, "ports", text, _restart(facts))
        else:
            yield Finding(OK, "ports", f"port {port} ({key}) is free")


def _free_fix(facts: Facts, key: str, port: int) -> str:
    other = {80: 8080, 443: 8443}.get(port, port + 1)
    while other in facts.listeners or other in facts.ports.values():
        other += 1
    return f"take another port: ood config --set {key} {other}"


def _is_service(facts: Facts, holder: Listener) -> bool:
    """Tell whether the service holds the port; the kernel may not say who does."""
    if holder.pid is None:
        return bool(facts.service_version)
    return holder.pid in facts.service_pids


def check_privileges(facts: Facts) -> Iterator[Finding]:
    """Whose powers ood has."""
    apps = facts.document.apps if facts.document else {}
    if facts.root:
        yield Finding(OK, "user", "as root, ood can run each app as a user of its own")
        for name, app in apps.items():
            if app.type == NODE and app.user in {None, "root", "0"}:
                text = f"{name} runs as root: a hole in it would be a hole in the machine"
                fix = f"useradd --system --user-group NAME; ood config -a {name} -s user NAME"
                yield Finding(WARN, "user", text, fix)
        return
    other = [name for name, app in apps.items() if app.user not in {None, facts.user}]
    if other:
        text = f"only root can run {', '.join(other)} as another user"
        yield Finding(FAIL, "user", text, "sudo ood install, or: ood config -a APP --unset user")
    else:
        yield Finding(OK, "user", f"ood and all apps run as {facts.user}")


def check_certificates(facts: Facts) -> Iterator[Finding]:
    """No certificate is missing, or about to expire."""
    for one in facts.certificates:
        level, text = _certificate(one, _days(one.get("notAfter"), facts.now))
        fix = f"ood cert show {one['name']}" if level != OK else ""
        yield Finding(level, "certificate", text, fix)


def _certificate(one: Mapping[str, Any], days: int | None) -> tuple[str, str]:
    name, state = one["name"], one["state"]
    trouble = f": {one['trouble']}" if one.get("trouble") else ""
    # the CA's are renewed in time, whatever their lifetime: until then few days say nothing
    alone = one.get("source") == "acme" and state == "valid"
    if one.get("source") == "acme" and not one.get("apps"):
        return OK, f"no app needs the certificate of {name} any more: ood cert remove {name}"
    if state in {"failed", "expired"}:
        return FAIL, f"the certificate of {name} is {state}{trouble}"
    if days is None:
        return WARN, f"{name} has no certificate yet{trouble}"
    if days < DAYS_FEW and not alone:
        text = f"the certificate of {name} expires in {days} days{trouble}"
        return WARN if days >= 1 else FAIL, text
    return WARN if trouble else OK, f"the certificate of {name} is good for {days} days{trouble}"


def _days(stamp: str | None, now: datetime) -> int | None:
    if not stamp:
        return None
    end = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return (end - now).days


def check_states(facts: Facts) -> Iterator[Finding]:
    """Every started app answers."""
    for status in facts.statuses:
        name = status["name"]
        if not is_as_wanted(status):
            said = "; ".join(status["trouble"])
            text = f"{name} is {status['state']}{f': {said}' if said else ''}"
            why = f"; ood why {name}" if status["type"] == NODE else ""
            yield Finding(FAIL, "app", text, f"ood status {name}{why}")
        elif status["pendingRestart"]:
            text = f"{name} runs with older settings"
            yield Finding(WARN, "app", text, f"ood restart {name}")
