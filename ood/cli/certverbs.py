"""The verbs of certificates: each asks the API for one thing and shows what came of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from ood.api.types import certificate_path
from ood.cli.session import Session

COLUMNS = ("name", "state", "until", "source", "apps", "issuer")
"""Columns of ``ood cert list``."""
Value = Mapping[str, Any]


async def list_all(session: Session) -> None:
    """Show all certificates."""
    answer = await session.client.ask("GET", "/certificates")
    if session.output.json:
        session.output.value(answer)
        return
    found = answer["certificates"]
    if not found:
        session.output.say("There are no certificates yet.")
        return
    rows = [
        [one["name"], one["state"], _day(one), one["source"], " ".join(one["apps"]), one["issuer"]]
        for one in found
    ]
    session.output.table(COLUMNS, rows, set())
    for one in found:
        if one["trouble"]:
            session.output.say(f"{one['name']}: {_trouble(one)}")


def _day(one: Value) -> str:
    return (one["notAfter"] or "").partition("T")[0]


def _trouble(one: Value) -> str:
    again = f"; next try {one['nextTry']}" if one["nextTry"] else ""
    return f"{one['trouble']}{again}"


async def show(session: Session, name: str) -> None:
    """Show one certificate."""
    _show(session, await session.client.ask("GET", certificate_path(name)))


def _show(session: Session, one: Value) -> None:
    if session.output.json:
        session.output.value(one)
        return
    until = f"; it ends {one['notAfter']}" if one["notAfter"] else ""
    session.output.say(f"{one['name']} is {one['state']}{until}")
    for label, text in (
        ("names", "  ".join(one["names"])),
        ("source", one["source"]),
        ("issuer", one["issuer"]),
        ("apps", "  ".join(one["apps"])),
        ("files", "  ".join(one["files"])),
        ("sha256", one["fingerprint"]),
        ("trouble", _trouble(one)),
    ):
        if text:
            session.output.say(f"  {label:<8} {text}")


async def add(session: Session, cert: str, key: str, chain: str) -> None:
    """Serve a certificate from files."""
    body = {"cert": cert, "key": key, **({"chain": chain} if chain else {})}
    _show(session, await session.client.ask("POST", "/certificates", body))


async def renew(session: Session, name: str) -> None:
    """Get a certificate anew."""
    with session.waiting(f"renewing {name}"):
        found = await session.client.ask("POST", certificate_path(name, "renew"))
    _show(session, found)


async def revoke(session: Session, name: str) -> None:
    """Get a certificate anew, and have the old one revoked."""
    with session.waiting(f"renewing {name}"):
        found = await session.client.ask("POST", certificate_path(name, "revoke"))
    _show(session, found)


async def remove(session: Session, name: str) -> None:
    """Forget a certificate."""
    await session.client.ask("DELETE", certificate_path(name))
    if session.output.json:
        session.output.value({"removed": name})
    else:
        session.output.say(f"{name} is removed.")


async def ask_for_terms(session: Session) -> None:
    """Ask once whether the CA's terms are accepted, which an app waits for.

    Only somebody at a terminal is asked; the answer is kept in ``acmeAgreeTos``.
    """
    if not _somebody_there(session):
        return
    settings = await session.client.ask("GET", "/settings")
    if settings["acmeAgreeTos"] is not None:
        return
    session.output.say("HTTPS: a certificate can be obtained by itself and for nothing, from")
    session.output.say(f"  {settings['acmeDirectory']}")
    # Nothing else happens in this process meanwhile, so the prompt may block it.
    accepted = click.confirm("Have you read the terms of that CA, and do you accept them?")
    await session.client.ask("PATCH", "/settings", {"acmeAgreeTos": accepted})
    if accepted:
        session.output.say("It is being obtained; see: ood cert list")
    else:
        session.output.say("You can do that later: ood config --set acmeAgreeTos true")


def _somebody_there(session: Session) -> bool:
    output = session.output
    return output.terminal and not output.json and sys.stdin.isatty()
