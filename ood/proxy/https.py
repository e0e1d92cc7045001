"""The HTTPS port, as the rest of the proxy sees it.

What does TLS is loaded with the first connection: a service without HTTPS needs
none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ood.interfaces import ICertificates
from ood.model.document import Document
from ood.proxy.context import Context, Incoming
from ood.proxy.dispatch import Dispatcher
from ood.proxy.greeting import GreetedArrival
from ood.proxy.secured import Secured
from ood.proxy.tls.counters import TlsCounters

if TYPE_CHECKING:
    from ood.proxy.tls.reception import Reception


class Https:
    """Takes connections on the HTTPS port, and knows what HTTPS makes of those on others.

    :param http_port: the port for HTTP.
    :param https_port: the port for HTTPS; 0 if nothing listens for it.
    :ivar entries: where connections come in, by local port.
    :ivar counters: what happened since the start.
    """

    def __init__(
        self,
        context: Context,
        certificates: ICertificates,
        dispatcher: Dispatcher,
        http_port: int,
        https_port: int,
    ) -> None:
        self._secured = Secured(certificates, http_port, https_port)
        context.secured = self._secured
        self._context = context
        self._certificates = certificates
        self._reception: Reception | None = None
        self._dispatcher = dispatcher
        self._default_hosts: tuple[str, ...] = ()
        self._passing: frozenset[str] = frozenset()
        self.entries = dispatcher.entries
        self.counters = TlsCounters()

    def accepted(self, incoming: Incoming) -> None:
        """Take a connection that was just accepted."""
        reception = self._reception
        if reception is None:
            reception = self._reception = self._load()
        sites = self._context.sites
        if sites.watchful and sites.greets(incoming.address[0]):
            half_open = reception.half_open
            GreetedArrival(self._context, half_open, incoming, reception.accepted).begin()
        else:
            reception.accepted(incoming)

    @property
    def awaited(self) -> int:
        """How many connections there are without a handshake and a first request."""
        return 0 if self._reception is None else len(self._reception.half_open)

    def _load(self) -> Reception:
        from ood.proxy.tls.reception import Reception  # noqa: PLC0415 - see above

        reception = Reception(self._context, self._certificates, self.counters, self._dispatcher)
        self._tell(reception)
        return reception

    def _tell(self, reception: Reception) -> None:
        reception.default_hosts = self._default_hosts
        reception.passing = self._passing

    def converge(self, document: Document) -> None:
        """Do as ``document`` says."""
        self._secured.converge(document)
        default = default_app(document)
        self._default_hosts = () if default is None else document.apps[default].hosts(default)
        self._passing = frozenset(
            name for name, app in document.apps.items() if app.tls == "passthrough"
        )
        if self._reception is not None:
            self._tell(self._reception)

    def stop(self) -> None:
        """Begin no more handshakes."""
        self._secured.stop()
        if self._reception is not None:
            self._reception.stop()


def default_app(document: Document) -> str | None:
    """Return the app that gets what nobody claims: the one that says so, or the only one."""
    chosen = [name for name, app in document.apps.items() if app.default]
    if chosen:
        return chosen[0]
    return next(iter(document.apps)) if len(document.apps) == 1 else None
