"""Checks of the apps: can they be started, do their names lead here, do they scale."""

from __future__ import annotations

from collections.abc import Iterator

from ood.cli.detect import STICKY_PACKAGES
from ood.cli.doctor.facts import FAIL, OK, WARN, Facts, Finding
from ood.model.upstreams import unverified

ADDRESSES_SHOWN = 3


def check_apps(facts: Facts) -> Iterator[Finding]:
    """Each app's user exists and can read it, and what it needs is there."""
    for name, app in facts.apps.items():
        if app.obstacle:
            yield Finding(FAIL, "app", f"{name}: {app.obstacle}", app.fix)
        else:
            yield Finding(OK, "app", f"{name} can be started")


def check_names(facts: Facts) -> Iterator[Finding]:
    """Each public name leads to this machine."""
    for name, found in facts.names.items():
        fix = f"set an A or AAAA record for it, then look: dig +short {name}"
        if isinstance(found, str):
            yield Finding(WARN, "dns", f"{name} does not resolve: {found}", fix)
            continue
        foreign = sorted(found - facts.addresses)
        shown = ", ".join(foreign[:ADDRESSES_SHOWN])
        if not foreign:
            yield Finding(OK, "dns", f"{name} leads to this machine")
        elif found & facts.addresses:
            yield Finding(WARN, "dns", f"{name} leads to {shown}, too, which is not here", fix)
        else:
            text = f"{name} leads to {shown}, not to this machine (behind NAT that may be right)"
            yield Finding(WARN, "dns", text, fix)


def check_stickiness(facts: Facts) -> Iterator[Finding]:
    """Apps whose clients need one worker have one, or only clients that don't."""
    apps = facts.document.apps if facts.document else {}
    for name, app in apps.items():
        known = facts.apps.get(name)
        used = sorted(known.packages & STICKY_PACKAGES) if known else []
        if used and app.worker_count() > 1 and app.stickiness() == "off":
            text = (
                f"{name} uses {used[0]} with {app.worker_count()} workers: clients that poll "
                "may reach a worker that does not know them"
            )
            fix = f"ood config -a {name} -s sticky cookie; or let clients use WebSockets only"
            yield Finding(WARN, "socket.io", text, fix)


def check_upstreams(facts: Facts) -> Iterator[Finding]:
    """Each server that TLS is spoken to is who it says."""
    apps = facts.document.apps if facts.document else {}
    for name, app in apps.items():
        for address in unverified(app.upstreams):
            text = (
                f"{name}: the certificate of {address} is not verified: whoever is in between "
                "can read and change everything"
            )
            fix = "name the CA that signed it with caFile=PATH instead of verify=false: "
            yield Finding(WARN, "upstream", text, f"{fix}ood config -a {name} -s upstreams ...")
