"""How HTTPS stands, for people and programs.  It imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from ood.certs.core.names import is_local
from ood.certs.core.plan import Plan
from ood.interfaces import Certificate, Measure
from ood.model.certificates import AppCertificate, CertificateStatus

TERMS = "nobody has accepted the CA's terms yet: ood config --set acmeAgreeTos true"
"""Why nothing is ordered."""


@dataclass(frozen=True)
class NameState:
    """How one public name stands.

    :ivar certificate: what is served for it now.
    :ivar trouble: why there is none, or it could not be renewed.
    """

    certificate: Certificate | None = None
    trouble: str = ""


def rfc3339(moment: datetime) -> str:
    """Return a moment as the API writes it."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def app_certificate(
    plan: Plan, app: str, state_of: Callable[[str], NameState], *, agreed: bool | None
) -> AppCertificate | None:
    """Return how HTTPS stands for ``app``; None if that is off.

    :param agreed: whether the CA's terms are accepted; None: nobody has said.
    """
    if app not in plan.hosts:
        return None
    hosts = [host for host in plan.hosts[app] if not is_local(host)]
    states = {host: state_of(host) for host in hosts}
    served = {host: one.certificate for host, one in states.items() if one.certificate}
    wanted = [host for host in hosts if host in plan.public and host not in served]
    trouble = [plan.without[host] for host in hosts if host in plan.without and host not in served]
    trouble += [f"{host}: {one.trouble}" for host, one in states.items() if one.trouble]
    ends = [certificate.not_after for certificate in served.values()]
    return AppCertificate(
        state=_state(served, wanted, any(states[host].trouble for host in wanted), agreed=agreed),
        names=tuple(served),
        not_after=rfc3339(min(ends)) if ends else None,
        trouble=(*dict.fromkeys(trouble), *([TERMS] if wanted and agreed is None else [])),
    )


def _state(served: object, wanted: object, failed: bool, *, agreed: bool | None) -> str:
    if served:
        return "partial" if wanted else "valid"
    if not wanted:
        return "none"
    if not agreed:
        return "terms"
    return "failed" if failed else "pending"


def measures(statuses: Iterable[CertificateStatus]) -> list[Measure]:
    """Return what is measured of certificates."""
    found = []
    for status in statuses:
        if status.source == "acme" and not status.apps:
            continue  # of an app that was deleted: nobody renews it, and nobody misses it
        labels = {"name": status.name, "source": status.source}
        wrong = int(status.state in {"failed", "expired"} or bool(status.trouble))
        found.append(Measure("ood_certificate_trouble", "1 if something is wrong.", wrong, labels))
        if status.not_after is not None:
            end = datetime.fromisoformat(status.not_after.replace("Z", "+00:00")).timestamp()
            doc = "When it expires, in seconds since the epoch."
            found.append(Measure("ood_certificate_not_after_seconds", doc, end, labels))
    return found
