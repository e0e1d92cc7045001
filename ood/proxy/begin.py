"""Where a request's head, read by whatever protocol, becomes something that is done."""

from __future__ import annotations

from functools import partial

import msgspec

from ood.proxy import limits
from ood.proxy.context import Context, Entry
from ood.proxy.core import pages
from ood.proxy.core.compress import Compression
from ood.proxy.core.errand import Errand
from ood.proxy.core.forward import Peer
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request
from ood.proxy.core.rules.site import Hold, Verdict
from ood.proxy.downstream import Downstream, Flow
from ood.proxy.exchange import Exchange
from ood.proxy.metered import Metered
from ood.proxy.static.flow import StaticFlow
from ood.proxy.upstream import UpstreamConnection
from ood.proxy.waiting import Waiting


class Asked(msgspec.Struct, frozen=True):
    """A request on its way through the rules.

    :ivar app: the app that its Host, or its port, names.
    :ivar waited: for what it has waited already, maintenance of an app or the check of a
        password; for each it waits once.
    """

    app: str
    request: Request
    peer: Peer
    waited: frozenset[str | bytes] = frozenset()


class Sent(msgspec.Struct, frozen=True):
    """A request that an app has got, as it came.

    :ivar upstream: the connection on which the answer comes.
    :ivar began: when it was sent.
    """

    app: str
    request: Request
    upstream: UpstreamConnection
    began: float


def begin(
    context: Context, downstream: Downstream, entry: Entry, request: Request, peer: Peer
) -> None:
    """Start what serves ``request``, or answer it at once."""
    peer = context.sites.real_peer(peer, request)
    app = entry.app or context.routes.find(request.host)
    metered = Metered(context, downstream, request, peer, app or "")
    if context.secured is not None and entry.app is None:
        page = context.secured.answer(app, request, peer, entry)
        if page is not None:
            metered.page(page)
            return
    if app is None:
        metered.page(context.sites.dressed(pages.no_site(request.host), ""))
    else:
        _ask(context, metered, Asked(app, request, peer))


def carry_on(context: Context, downstream: Downstream, sent: Sent, peer: Peer) -> None:
    """Have ``downstream`` get the answer to a request that was sent already."""
    metered = Metered(context, downstream, sent.request, peer, sent.app, began=sent.began)
    exchange = Exchange(context, metered, Errand(sent.app, sent.request, peer))
    metered.flow = exchange
    exchange.carry_on(sent.upstream)


def _ask(context: Context, downstream: Metered, asked: Asked) -> None:
    """Ask the rules, and do what they say."""
    again = bool(asked.waited)
    verdict = context.sites.decide(asked.app, asked.request, asked.peer, again=again)
    if isinstance(verdict, Page):
        downstream.page(verdict)
        return
    flow: Flow | None
    if isinstance(verdict, Errand):
        if context.secured is not None:
            verdict = context.secured.marked(asked.app, verdict)
        downstream.named, downstream.user = verdict.request.fields, verdict.user
        flow = flow_of(context, downstream, verdict, asked.request)
    else:
        flow = _waiting(context, downstream, asked, verdict)
        if flow is None:
            downstream.page(verdict.page)
            return
    downstream.flow = flow
    flow.start()


def flow_of(context: Context, downstream: Downstream, errand: Errand, asked: Request) -> Flow:
    """Return what serves an errand; it is not started yet.

    :param asked: what the client itself asked for: what ood does by it, ``requestHeaders``,
        which are for the app, don't change.
    """
    if errand.app in context.compressing:
        changes = (*errand.changes, Compression(asked))
        errand = msgspec.structs.replace(errand, changes=changes)
    if errand.app in context.statics:
        request = msgspec.structs.replace(errand.request, fields=asked.fields)
        errand = msgspec.structs.replace(errand, request=request)
        return StaticFlow(context, downstream, errand, context.statics[errand.app])
    return Exchange(context, downstream, errand)


def _waiting(context: Context, downstream: Metered, asked: Asked, verdict: Verdict) -> Flow | None:
    """Return what waits before the rules are asked again; None if it must not wait."""
    if isinstance(verdict, Errand | Page):
        return None
    what = verdict.app if isinstance(verdict, Hold) else verdict.check.key
    if what in asked.waited:
        return None
    if isinstance(verdict, Hold):
        ready, seconds = context.sites.held(verdict.app), verdict.seconds
    else:
        ready = context.sites.checked(verdict.check, asked.peer.address)
        seconds = limits.PASSWORD_SECONDS
    if ready is None:
        return None
    later = msgspec.structs.replace(asked, waited=asked.waited | {what})
    go_on = partial(_ask, context, downstream, later)
    return Waiting(downstream, ready, seconds=seconds, late=verdict.page, go_on=go_on)
