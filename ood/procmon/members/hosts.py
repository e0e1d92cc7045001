"""Which requests belong to which app, as each app's processes are told."""

from __future__ import annotations

import os

from ood.model.document import Document
from ood.procmon.core.join import Hosts
from ood.traffic.records import OFF
from ood.traffic.traffic import access_format


def is_default(name: str, document: Document) -> bool:
    """Tell whether the app answers for hosts that nobody names: it says so, or is alone."""
    return document.apps[name].default or len(document.apps) == 1


def _covered(host: str, wildcards: tuple[str, ...]) -> bool:
    return any(host.endswith(wildcard[1:]) for wildcard in wildcards)


def hosts_of(name: str, document: Document) -> Hosts:
    """Return what the app's processes need to know; only what matters to them."""
    app = document.apps[name]
    own = app.hosts(name)
    wildcards = tuple(host for host in own if host.startswith("*."))
    default = is_default(name, document)
    others = (
        host
        for other, settings in document.apps.items()
        if other != name
        for host in settings.hosts(other)
    )
    foreign = tuple(sorted(host for host in others if default or _covered(host, wildcards)))
    log = access_format(name, document) != OFF
    return Hosts(
        own=own,
        foreign=foreign,
        default=default,
        port=app.port,
        log=log,
        # for the connections that the processes have from before
        every=bool(app.proxied_because()),
        public=tuple(port for port in document.settings.ports(root=os.geteuid() == 0) if port),
    )
