"""The verbs: each asks the API for one thing and shows what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ood.api.types import app_path
from ood.cli.access import NotRunningError
from ood.cli.output import Output
from ood.cli.session import Invocation, Session
from ood.cli.status import one_line_status
from ood.cli.text import spell
from ood.errors import NotFoundError


async def init(session: Session, name: str, values: Mapping[str, Any], found: str) -> None:
    """Add an app.

    :param found: what will run and where that was found, if it was looked for.
    """
    configuration = await session.client.ask("POST", "/apps", {"name": name, **values})
    if session.output.json:
        session.output.value({"name": name, **configuration})
        return
    runs = configuration["type"] == "node"
    rows = [
        ("directory", configuration["cwd"]),
        ("runs", found or (_runs(configuration) if runs else "")),
        ("upstreams", ", ".join(one["address"] for one in configuration["upstreams"])),
        ("user", configuration["user"] or ""),
        ("port", str(configuration["port"])),
        ("domains", ", ".join(configuration["domains"])),
    ]
    session.output.say(f"Added {name}.")
    for label, text in rows:
        if text:
            session.output.say(f"  {label:<10} {text}")
    _show_unverified(session, configuration)


def _runs(configuration: Mapping[str, Any]) -> str:
    interpreter = configuration["interpreter"]
    words = [configuration["script"] or "", *configuration["args"]]
    return " ".join(words if interpreter == "none" else [interpreter, *words])


async def start(session: Session, app: str) -> None:
    """Start an app."""
    with session.waiting(f"starting {app}"):
        status = await session.client.ask("POST", app_path(app, "start"))
    _show(session, status)
    if (status["certificate"] or {}).get("state") == "terms":
        from ood.cli.certverbs import ask_for_terms

        await ask_for_terms(session)


async def stop(session: Session, app: str) -> None:
    """Stop an app."""
    with session.waiting(f"stopping {app}"):
        status = await session.client.ask("POST", app_path(app, "stop"))
    _show(session, status)


async def restart(session: Session, app: str) -> None:
    """Replace an app's workers."""
    with session.waiting(f"restarting {app}"):
        status = await session.client.ask("POST", app_path(app, "restart"))
    _show(session, status)


async def scale(session: Session, app: str, instances: str) -> None:
    """Set the number of an app's workers."""
    with session.waiting(f"scaling {app} to {instances}"):
        body = {"instances": instances}
        status = await session.client.ask("POST", app_path(app, "scale"), body)
    _show(session, status)


async def delete(session: Session, app: str, *, purge: bool) -> None:
    """Forget an app."""
    with session.waiting(f"stopping {app}"):
        query = "?purge=true" if purge else ""
        await session.client.ask("DELETE", app_path(app) + query)
    if session.output.json:
        session.output.value({"deleted": app})
    else:
        rest = ", and so are its releases" if purge else "; its files are where they were"
        session.output.say(f"{app} is deleted{rest}.")


async def get_config(session: Session, app: str | None, key: str) -> None:
    """Show the settings or an app's configuration, or one key of it."""
    path = app_path(app, "config") if app else "/settings"
    values = await session.client.ask("GET", path)
    if key:
        value = _lookup(values, key)
        if session.output.json:
            session.output.value(value)
        else:
            session.output.say(spell(value))
    else:
        _show_values(session.output, values, values)


def set_settings(invocation: Invocation, changes: Mapping[str, str | None]) -> None:
    """Change settings, all or none; in the home itself if the service does not run."""
    try:
        invocation.run(lambda session: set_config(session, None, changes))
    except NotRunningError as fault:
        if invocation.host is not None:
            raise
        from ood.cli.offline import change_settings

        values = change_settings(invocation.home_path, changes, fault)
        _show_values(invocation.output, values, list(changes))
        if not invocation.output.json:
            invocation.output.say("ood does not run: this holds from its next start.")


async def set_config(session: Session, app: str | None, changes: Mapping[str, str | None]) -> None:
    """Change keys, all or none."""
    path = app_path(app) if app else "/settings"
    values = await session.client.ask("PATCH", path, dict(changes))
    _show_values(session.output, values, list(changes))
    if session.output.json:
        return
    if app and changes.keys() & {"port", "cwd"}:
        _show_trouble(session, await session.client.ask("GET", app_path(app)))
    if app and "upstreams" in changes:
        _show_unverified(session, values)
    if not app:
        _show_waiting(session, changes)


def _show_unverified(session: Session, configuration: Mapping[str, Any]) -> None:
    """Say which servers could be anybody."""
    for one in configuration["upstreams"]:
        if not one.get("verify", True):
            session.output.say(
                f"The certificate of {one['address']} is not verified: whoever is in between can "
                "read and change everything (better: caFile=PATH)."
            )


def _show_waiting(session: Session, changes: Mapping[str, object]) -> None:
    """Say which settings the service heeds only when it starts."""
    from ood.model.schema import AT_START

    for key in sorted(AT_START.intersection(changes)):
        session.output.say(f"{key} is kept, and holds from the next start of the service.")


def _show_values(output: Output, values: Mapping[str, Any], keys: Sequence[str] | Any) -> None:
    if output.json:
        output.value(values)
        return
    width = max(map(len, keys), default=0)
    for key in keys:
        output.say(f"{key:<{width}}  {spell(_lookup(values, key, None))}".rstrip())


_REQUIRED = object()


def _lookup(values: Mapping[str, Any], key: str, default: object = _REQUIRED) -> Any:
    """Return the value of ``key``, which may name an entry, as ``env.NAME`` does."""
    head, _, entry = key.partition(".")
    entries = values.get(head)
    if entry and isinstance(entries, dict) and entry in entries:
        return entries[entry]
    if key in values:
        return values[key]
    if default is not _REQUIRED:
        return default
    import difflib

    near = difflib.get_close_matches(key, values, n=1)
    hint = f"did you mean {near[0]}?" if near else f"keys: {', '.join(values)}"
    raise NotFoundError(f"there is no key {key}", hint)


def _show(session: Session, status: Mapping[str, Any]) -> None:
    if session.output.json:
        session.output.value(status)
    else:
        session.output.say(one_line_status(status))
        _show_trouble(session, status)


def _show_trouble(session: Session, status: Mapping[str, Any]) -> None:
    for text in status["trouble"]:
        session.output.say(f"{status['name']}: {text}")
