"""A certificate is never replaced by a worse one: what worse means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ood.certs.core.names import covers
from ood.certs.core.schedule import Span


@dataclass(frozen=True)
class Facts:
    """What counts when two certificates are compared.

    :ivar names: what it is valid for.
    :ivar terms: what it was ordered by: CA and profile.  Another CA may give shorter ones.
    """

    names: tuple[str, ...]
    span: Span
    terms: str = ""


def why_unfit(new: Facts, wanted: Iterable[str], now: float) -> str:
    """Return why a certificate can't serve the ``wanted`` names now; empty if it can."""
    missing = [name for name in wanted if not covers(new.names, name)]
    if missing:
        return f"it is not valid for {', '.join(missing)}"
    if new.span.end <= now:
        return "it has expired"
    return ""


def why_worse(old: Facts | None, new: Facts, now: float) -> str:
    """Return why ``new`` must not take the place of ``old``; empty if it may."""
    if old is None or old.span.end <= now:
        return ""
    missing = [name for name in old.names if not covers(new.names, name)]
    if missing:
        return f"it is not valid for {', '.join(missing)}, as the present one is"
    if new.span.end < old.span.end and new.terms == old.terms:
        return "it expires before the present one"
    return ""
