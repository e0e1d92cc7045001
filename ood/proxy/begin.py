"""Where a request's head, read by whatever protocol, becomes something that is done."""

from __future__ import annotations

from ood.proxy.context import Context, Entry
from ood.proxy.core import pages
from ood.proxy.core.errand import Errand
from ood.proxy.core.forward import Peer
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request
from ood.proxy.downstream import Downstream, Flow
from ood.proxy.exchange import Exchange
from ood.proxy.metered import Metered


def begin(
    context: Context, downstream: Downstream, entry: Entry, request: Request, peer: Peer
) -> None:
    """Start what serves ``request``, or answer it at once."""
    errand = errand_of(context, entry, request, peer)
    if isinstance(errand, Page):
        app = entry.app or context.routes.find(request.host) or ""
        Metered(context, downstream, request, peer, app).page(errand)
        return
    metered = Metered(context, downstream, request, errand.peer, errand.app)
    flow = flow_of(context, metered, errand)
    metered.flow = flow
    flow.start()


def errand_of(context: Context, entry: Entry, request: Request, peer: Peer) -> Errand | Page:
    """Ask the rules what is to be done."""
    app = entry.app or context.routes.find(request.host)
    if app is None:
        return pages.no_site(request.host)
    return Errand(app, request, peer)


def flow_of(context: Context, downstream: Downstream, errand: Errand) -> Flow:
    """Return what serves an errand; it is not started yet."""
    return Exchange(context, downstream, errand)
