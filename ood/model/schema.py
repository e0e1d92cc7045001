"""Every key that a user may set: its kind, its meaning, and validation.

One table drives the check of what users write, ``ood config``, the OpenAPI
document and ``docs/settings.md``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from ood.errors import Fault, InvalidError
from ood.model import kinds
from ood.model.apitls import API_TLS
from ood.model.apptypes import APP_TYPES, type_faults
from ood.model.document import SCHEMA_VERSION, App, Document, Settings, to_plain
from ood.model.files import COMPRESS_KEYS, FILE_KEYS
from ood.model.notify import NOTIFY, restored
from ood.model.rulecheck import rule_faults
from ood.model.rulekinds import MAINTENANCE, RULE_KEYS, RULE_SETTINGS
from ood.model.servicecheck import read_services
from ood.model.services import Service
from ood.model.tls import HTTPS_KEYS
from ood.model.upstreams import UPSTREAM_KEYS

STOP_SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL")

ACCESS_LOG = kinds.choice("off", "common", "combined", "json")
"""The formats of access logs, as ``ood.traffic.records`` writes them."""

AT_START = frozenset({"httpPort", "httpsPort", "apiPort", "apiTls", "balancerEngine"})
"""Settings that the service heeds when it starts, and not before."""
DOCUMENT_KEYS = ("schema", "settings", "apps", "services")

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True)
class Key:
    """One key: what it may hold and what it means.

    :ivar kind: what it may hold.
    :ivar doc: what it means, one sentence.
    :ivar set_by: the commands that set it, where ``ood config`` does not.
    """

    kind: kinds.Kind
    doc: str
    set_by: str = ""

    @property
    def internal(self) -> bool:
        """Whether it is kept in the document but not set by ``ood config``."""
        return bool(self.set_by)


SETTINGS_KEYS: Mapping[str, Key] = {
    "httpPort": Key(
        kinds.port(zero=True),
        "Port for HTTP (80 for root, else 8080), from the next start of the service.",
    ),
    "httpsPort": Key(
        kinds.port(zero=True),
        "Port for HTTPS (443 for root, else 8443), from the next start of the service.",
    ),
    "apiPort": Key(kinds.port(), "Loopback port of the API, from the next start of the service."),
    "apiTls": Key(
        API_TLS,
        "Where the API listens for other machines, whose certificates it checks, from the next "
        "start of the service (docs/remote.md).",
    ),
    "metricsAccess": Key(
        kinds.choice("token", "loopback"),
        "What /metrics asks for: the API's token, or nothing on this machine's loopback.",
    ),
    "balancerEngine": Key(
        kinds.choice("auto", "ipvs", "userspace"),
        "What spreads the connections of ood lb: the kernel or ood, from the next start of the "
        "service.",
    ),
    "notify": Key(
        NOTIFY,
        "Programs and webhooks that are told of events; URLs are stored whole and shown masked.",
    ),
    **{name: Key(kind, doc) for name, (kind, doc) in RULE_SETTINGS.items()},
    "accessLog": Key(
        ACCESS_LOG, "Whether requests are written down, and how, for apps that don't say so."
    ),
    "acmeAgreeTos": Key(
        kinds.BOOLEAN,
        "Whether you accept the terms of the CA: without that no certificate is ordered.",
    ),
    "acmeEmail": Key(kinds.EMAIL, "Where the CA may write to."),
    "acmeDirectory": Key(kinds.HTTPS_URL, "The CA's ACME directory."),
    "acmeChallenges": Key(
        kinds.CHALLENGES, "How names are proved to the CA; after a failure the next one is tried."
    ),
    "acmeDnsHook": Key(
        kinds.ARGUMENTS,
        "Command for dns-01, and so for wildcards: it is called with add or remove, name, value.",
    ),
    "acmeProfile": Key(kinds.TEXT, "The kind of certificate, where the CA has several."),
    "acmePreferredChain": Key(
        kinds.TEXT, "Name of the root that chains end at, where the CA has several."
    ),
    "acmeEabKid": Key(kinds.TEXT, "Key id of your account at the CA, if it wants one."),
    "acmeEabKeyFile": Key(
        kinds.ABSOLUTE_PATH, "File with the secret of that account, readable for nobody else."
    ),
    "acmeCaFile": Key(
        kinds.ABSOLUTE_PATH, "PEM file of the roots that the CA's own certificate is checked with."
    ),
}

_MORE_KEYS = {**UPSTREAM_KEYS, **FILE_KEYS, **COMPRESS_KEYS, **HTTPS_KEYS, **RULE_KEYS}

APP_KEYS: Mapping[str, Key] = {
    "type": Key(
        kinds.choice(*APP_TYPES),
        "What it is: a program that ood runs, servers elsewhere (upstreams), or files.",
    ),
    "cwd": Key(kinds.ABSOLUTE_PATH, "Directory the app runs in."),
    "port": Key(kinds.port(), "The app's own port on 127.0.0.1; the app sees it as PORT."),
    "script": Key(kinds.TEXT, "What to run: a path from cwd; with interpreter npm, a script."),
    "args": Key(kinds.ARGUMENTS, "Arguments for the script."),
    "nodeArgs": Key(kinds.ARGUMENTS, "Arguments for node itself."),
    "interpreter": Key(kinds.TEXT, "node, npm, none (the script is a program), or a program."),
    "env": Key(kinds.ENVIRONMENT, "Environment variables."),
    "instances": Key(kinds.INSTANCES, "How many workers run."),
    "domains": Key(kinds.DOMAINS, "Further host names the app answers to."),
    "default": Key(kinds.BOOLEAN, "Whether the app answers for hosts that no app names."),
    "user": Key(kinds.USER, "User the app runs as; only root can choose another."),
    "group": Key(kinds.USER, "Primary group the app runs as; the user's own if unset."),
    "handoff": Key(
        kinds.choice("auto", "guard", "cluster", "never"),
        "How connections reach Node: auto, by the guard, by cluster's channel, or only proxied.",
    ),
    "waitReady": Key(kinds.BOOLEAN, "Wait for process.send('ready') before a worker counts."),
    "listenTimeout": Key(kinds.DURATION, "How long a worker may take until it answers."),
    "killTimeout": Key(kinds.DURATION, "How long a worker may take to finish and exit."),
    "stopSignal": Key(kinds.choice(*STOP_SIGNALS), "Signal that asks a worker to exit."),
    "healthPath": Key(
        kinds.URL_PATH,
        "What a new worker or an upstream is asked for; it counts when it answers with a status "
        "from 200 to 399.",
    ),
    "healthTimeout": Key(
        kinds.DURATION, "How long a worker that listens may take until that answer is right."
    ),
    "autorestart": Key(kinds.BOOLEAN, "Whether a worker that exits is replaced."),
    "minUptime": Key(kinds.DURATION, "A worker that ran shorter than this died young."),
    "maxRestarts": Key(
        kinds.integer(1, 1000), "Deaths in a row, all young, after which the app counts as errored."
    ),
    "expBackoffRestartDelay": Key(
        kinds.DURATION, "First pause after a young death; it doubles up to 15 s."
    ),
    "restartDelay": Key(kinds.DURATION, "Least pause before a worker that died is replaced."),
    "maxMemoryRestart": Key(
        kinds.SIZE, "A worker with its children that uses more memory is replaced gently."
    ),
    "cronRestart": Key(
        kinds.SCHEDULE, "When the workers are replaced gently, in the machine's local time."
    ),
    "watch": Key(
        kinds.WATCH,
        "Whether the workers are replaced gently when files change: those in cwd, or the "
        "named files and directories.",
    ),
    "ignoreWatch": Key(
        kinds.GLOBS,
        "What watch leaves out, beside node_modules, logs, data bases, editors' files and names "
        "that begin with a dot (but .env).",
    ),
    "spare": Key(
        kinds.integer(0, 1),
        "1: a worker more than instances waits, without requests, to take a dead one's place; "
        "its NODE_APP_INSTANCE is a higher number.",
    ),
    "accessLog": Key(
        ACCESS_LOG, "Whether the app's requests are written down, and how (ood log APP --access)."
    ),
    "dependsOn": Key(
        kinds.APPS, "Apps that answer before this one is started; after 30 s it is in any case."
    ),
    **{name: Key(kind, doc) for name, (kind, doc) in _MORE_KEYS.items()},
    "maintenance": Key(
        MAINTENANCE, "Why and how the app is not asked now.", set_by="ood maintenance"
    ),
    "running": Key(kinds.BOOLEAN, "Whether the app is started.", set_by="ood start and ood stop"),
    "release": Key(kinds.RELEASE, "The release that is run.", set_by="ood deploy and ood rollback"),
}


def _unknown(key: str, table: Mapping[str, Key], prefix: str) -> Fault:
    near = difflib.get_close_matches(key, table, n=1)
    allowed = ", ".join(name for name, entry in table.items() if not entry.internal)
    problem = f"there is no such key; did you mean {near[0]}?" if near else "there is no such key"
    return Fault(prefix + key, problem, "" if near else allowed)


def parse_value(table: Mapping[str, Key], key: str, value: Any, prefix: str = "") -> Any:
    """Return the typed value of ``key``.

    :raises InvalidError: the key is unknown or the value is not allowed.
    """
    entry = table.get(key)
    if entry is None:
        raise InvalidError([_unknown(key, table, prefix)])
    try:
        return entry.kind.parse(value)
    except ValueError as error:
        raise InvalidError([Fault(prefix + key, str(error), entry.kind.allowed)]) from None


def _struct(
    kind: type[S], table: Mapping[str, Key], plain: Any, prefix: str, faults: list[Fault]
) -> S | None:
    """Build ``kind`` from ``plain``; append every fault to ``faults``."""
    if not isinstance(plain, dict):
        faults.append(Fault(prefix.rstrip(".") or "document", "is not an object", "an object"))
        return None
    before = len(faults)
    values: dict[str, Any] = {}
    for key, value in plain.items():
        try:
            values[key] = parse_value(table, key, value, prefix)
        except InvalidError as error:
            faults += error.faults
    fields = msgspec.structs.fields(kind)
    faults += [
        Fault(prefix + field.encode_name, "is missing", table[field.encode_name].kind.allowed)
        for field in fields
        if field.required and field.encode_name not in plain
    ]
    if len(faults) > before:
        return None
    names = {field.encode_name: field.name for field in fields}
    return kind(**{names[key]: value for key, value in values.items()})


def check_app(name: str, plain: Any) -> App:
    """Return the app that ``plain`` (JSON values, user's spelling) describes.

    :raises InvalidError: with every fault.
    """
    faults: list[Fault] = []
    try:
        kinds.parse_app_name(name)
    except ValueError as error:
        faults.append(Fault("name", str(error), kinds.APP_NAME_ALLOWED))
    app = _struct(App, APP_KEYS, plain, "", faults)
    faults += type_faults(plain)
    if app is None or faults:
        raise InvalidError(faults)
    return app


def check_settings(plain: Any) -> Settings:
    """Return the settings that ``plain`` describes.

    :raises InvalidError: with every fault.
    """
    faults: list[Fault] = []
    settings = _struct(Settings, SETTINGS_KEYS, plain, "", faults)
    if settings is None:
        raise InvalidError(faults)
    return settings


def check_document(plain: Any) -> Document:
    """Return the document that ``plain`` (decoded JSON) describes.

    :raises InvalidError: with every fault, each key with its whole path.
    """
    if not isinstance(plain, dict):
        raise InvalidError([Fault("document", "is not an object", "an object")])
    if isinstance(plain.get("schema"), int) and plain["schema"] > SCHEMA_VERSION:
        problem = f"is {plain['schema']}: it was written by a newer ood"
        raise InvalidError([Fault("schema", problem, f"up to {SCHEMA_VERSION}")])
    faults = [
        Fault(key, "there is no such key", ", ".join(DOCUMENT_KEYS))
        for key in plain
        if key not in DOCUMENT_KEYS
    ]
    settings = _struct(Settings, SETTINGS_KEYS, plain.get("settings", {}), "settings.", faults)
    apps: dict[str, App] = {}
    plain_apps = plain.get("apps", {})
    if not isinstance(plain_apps, dict):
        faults.append(Fault("apps", "is not an object", "an object of apps by name"))
        plain_apps = {}
    for name, one in plain_apps.items():
        try:
            kinds.parse_app_name(name)
        except ValueError as error:
            faults.append(Fault(f"apps.{name}", str(error), kinds.APP_NAME_ALLOWED))
        app = _struct(App, APP_KEYS, one, f"apps.{name}.", faults)
        faults += type_faults(one, f"apps.{name}.")
        if app is not None:
            apps[name] = app
    services = _services(plain.get("services", []), faults)
    if settings is None or faults:
        raise InvalidError(faults)
    document = Document(settings=settings, apps=apps, services=services)
    check_together(document)
    return document


def _services(plain: Any, faults: list[Fault]) -> tuple[Service, ...]:
    """Return the balancer's services; append every fault to ``faults``."""
    try:
        return read_services(plain, "services")
    except InvalidError as error:
        faults += error.faults
        return ()


def check_together(document: Document) -> None:
    """Check what only shows when apps and settings are seen together.

    :raises InvalidError: two apps share a port or a host, two are the default, apps wait
        for one another, or a rule does not fit.
    """
    faults: list[Fault] = []
    ports: dict[int, str] = {document.settings.api_port: "settings.apiPort"}
    if document.settings.api_tls is not None:
        ports.setdefault(document.settings.api_tls.port, "settings.apiTls")
    for key in ("http_port", "https_port"):
        port = getattr(document.settings, key)
        if port:
            name = "settings." + ("httpPort" if key == "http_port" else "httpsPort")
            if port in ports:
                faults.append(Fault(name, f"{port} is {ports[port]} too", "a port of its own"))
            ports.setdefault(port, name)
    hosts: dict[str, str] = {}
    default = ""
    for name, app in document.apps.items():
        if app.port in ports:
            problem = f"{app.port} is {ports[app.port]} too"
            faults.append(Fault(f"apps.{name}.port", problem, "a port of its own"))
        ports.setdefault(app.port, f"apps.{name}.port")
        for host in app.hosts(name):
            if host in hosts:
                problem = f"{host} belongs to the app {hosts[host]}"
                faults.append(Fault(f"apps.{name}.domains", problem, "names of its own"))
            hosts.setdefault(host, name)
        if app.default and default:
            problem = f"the app {default} is the default already"
            faults.append(Fault(f"apps.{name}.default", problem, "one default app"))
        default = default or (name if app.default else "")
    faults += _circles(document.apps)
    faults += rule_faults(document.apps)
    if faults:
        raise InvalidError(faults)


def _circles(apps: Mapping[str, App]) -> list[Fault]:
    """Return a fault for each app that waits, by way of others, for itself."""
    faults = []
    for name in apps:
        before: set[str] = set()
        pending = list(apps[name].depends_on)
        while pending:
            one = pending.pop()
            if one in apps and one not in before:
                before.add(one)
                pending += apps[one].depends_on
        if name in before:
            problem = f"{name} would wait for itself"
            faults.append(Fault(f"apps.{name}.dependsOn", problem, "apps that don't need it"))
    return faults


def changed_app(name: str, app: App, changes: Mapping[str, Any]) -> App:
    """Return ``app`` with ``changes`` applied.

    :param changes: values by key; ``env.NAME`` reaches one variable, as does the same with
        every key that has entries, and a value of ``None`` puts the key back to its default.
    :raises InvalidError: with every fault.
    """
    return check_app(name, _changed(to_plain(app), APP_KEYS, changes))


def _changed(
    plain: dict[str, Any], table: Mapping[str, Key], changes: Mapping[str, Any]
) -> dict[str, Any]:
    # Whole values first, whatever the order: an object's keys have none in JSON.
    for key, value in sorted(changes.items(), key=lambda change: "." in change[0]):
        head, _, entry = key.partition(".")
        if entry and head in table and table[head].kind.entries:
            plain[head] = _with_entry(plain.get(head, {}), entry, value)
        elif value is None and key in table:
            plain.pop(key, None)
        elif value is None:
            raise InvalidError([_unknown(key, table, "")])
        else:
            plain[key] = value
    return plain


def _with_entry(entries: Any, name: str, value: Any) -> Any:
    """Return an object with one entry set, or without it; no object is left to its kind."""
    if not isinstance(entries, dict):
        return entries
    if value is None:
        return {key: inner for key, inner in entries.items() if key != name}
    return {**entries, name: value}


def changed_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return ``settings`` with ``changes`` applied, as :func:`changed_app` does.

    :raises InvalidError: with every fault.
    """
    new = check_settings(_changed(to_plain(settings), SETTINGS_KEYS, changes))
    return msgspec.structs.replace(new, notify=restored(new.notify, settings.notify))


def check_settable(values: Mapping[str, Any]) -> None:
    """Refuse keys of an app that only commands set.

    :raises InvalidError: with every such key.
    """
    faults = [
        Fault(key, "can't be set", f"use {APP_KEYS[key].set_by}")
        for key in values
        if key in APP_KEYS and APP_KEYS[key].internal
    ]
    if faults:
        raise InvalidError(faults)


def scaled(app: App, wanted: str) -> int | str:
    """Return the new number of instances that ``wanted`` asks for: N, +N, -N or max.

    :raises InvalidError: it asks for none or too many.
    """
    text = wanted.strip()
    relative = text[:1] in {"+", "-"} and text[1:].isdigit()
    value: Any = app.worker_count() + int(text) if relative else text
    try:
        instances: int | str = kinds.INSTANCES.parse(value)
    except ValueError as error:
        allowed = f"{kinds.INSTANCES.allowed}; +N and -N change it; ood stop ends the app"
        raise InvalidError([Fault("instances", str(error), allowed)]) from None
    return instances
