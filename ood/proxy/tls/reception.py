"""What becomes of a connection on the HTTPS port."""

from __future__ import annotations

from collections.abc import Callable, Set

from OpenSSL import SSL
from twisted.logger import Logger

from ood.clock import Seldom
from ood.interfaces import Certificate, ICertificates
from ood.proxy.arrivals import HalfOpen
from ood.proxy.client import Client
from ood.proxy.context import Context, Incoming
from ood.proxy.core import pages
from ood.proxy.core.hello import NO_APPLICATION_PROTOCOL, UNRECOGNIZED_NAME, Hello
from ood.proxy.dispatch import Dispatcher
from ood.proxy.tls import counters
from ood.proxy.tls.contexts import ACME, HTTP1, Contexts, challenge_context
from ood.proxy.tls.counters import TlsCounters
from ood.proxy.tls.farewell import Farewell
from ood.proxy.tls.handshake import Handshake
from ood.proxy.tls.kernel import Support, describe, keep_secrets, probe
from ood.proxy.tls.passage import Passage
from ood.proxy.tls.socket import TlsSocket
from ood.proxy.tls.speakers import SPEAKERS
from ood.proxy.tls.turns import Turns

WARNING_SECONDS = 60.0
"""An unusable certificate is logged this often, not at each connection."""


class Reception:
    """Takes connections that were accepted on the HTTPS port.

    :param dispatcher: takes connections that can be handed off.
    :ivar default_hosts: the hosts of the app that gets what names no host.
    :ivar passing: apps that do TLS themselves.
    """

    log = Logger()

    def __init__(
        self,
        context: Context,
        certificates: ICertificates,
        counted: TlsCounters,
        dispatcher: Dispatcher,
    ) -> None:
        self._dispatcher = dispatcher
        self._certificates = certificates
        self._kernel = probe()
        self.log.info("{text}", text=describe(self._kernel))
        keylog = keep_secrets if self._kernel else None
        self._contexts = Contexts(context.clock, tuple(SPEAKERS), keylog)
        self._warning = Seldom(context.clock, WARNING_SECONDS)
        self.context = context
        self.counters = counted
        self.half_open = HalfOpen()
        self.turns = Turns(context.clock)
        self.default_hosts: tuple[str, ...] = ()
        self.passing: Set[str] = frozenset()

    def accepted(self, incoming: Incoming) -> None:
        """Take a connection that was just accepted."""
        self.context.counters.connections += 1
        Handshake(self, incoming).start()

    def greet(self, handshake: Handshake, hello: Hello) -> None:
        """Choose the certificate, and begin; or refuse."""
        validation = ACME in hello.protocols and self._certificates.challenge(hello.server_name)
        app = self.context.routes.find(hello.server_name.encode("ascii") or None)
        if app is not None and app in self.passing and not validation:
            self._pass(handshake, app)
            return
        if ACME in hello.protocols:
            self._validate(handshake, hello)
            return
        certificate = self._find(hello.server_name)
        if certificate is None:
            handshake.refuse(UNRECOGNIZED_NAME, counters.UNKNOWN_NAME)
        elif hello.protocols and SPEAKERS.keys().isdisjoint(hello.protocols):
            handshake.refuse(NO_APPLICATION_PROTOCOL, counters.NO_PROTOCOL)
        else:
            kernel = self._kernel_for(app, hello, handshake.incoming)
            self._begin(handshake, certificate, self._contexts.find, kernel)

    def _find(self, server_name: str) -> Certificate | None:
        if server_name:
            return self._certificates.find(server_name)
        found = (self._certificates.find(host) for host in self.default_hosts)
        return next((one for one in found if one is not None), None)

    def _begin(
        self,
        handshake: Handshake,
        certificate: Certificate,
        context_for: Callable[[Certificate], SSL.Context],
        kernel: Support | None = None,
    ) -> None:
        try:
            settings = context_for(certificate)
        except ValueError as error:
            if self._warning.allows():
                self.log.error("{error}", error=str(error))
            handshake.refuse(UNRECOGNIZED_NAME, counters.UNUSABLE)
            return
        handshake.begin(settings, kernel)

    def _kernel_for(self, app: str | None, hello: Hello, incoming: Incoming) -> Support | None:
        """Return the kernel if it is to have the connection, so that a worker can get it."""
        agreed = next((one for one in SPEAKERS if one in hello.protocols), HTTP1)
        wanted = agreed == HTTP1 and app is not None and self._hands_off(app, incoming)
        return self._kernel if wanted else None

    def _hands_off(self, app: str, incoming: Incoming) -> bool:
        context = self.context
        return (
            bool(self._kernel)
            and not incoming.proxied
            and not context.sites.every_request(app)
            and (context.secured is None or context.secured.passes(app, b"/", incoming.entry))
            and context.pool.takes_sockets(app, alone=False)
        )

    def sealed(self, incoming: Incoming) -> None:
        """Send a connection that reads as plain text its way."""
        self._dispatcher.greeted(incoming)

    def _pass(self, handshake: Handshake, app: str) -> None:
        """Let the app do TLS itself."""
        self.counters.passed_through += 1
        handshake.release()
        if self.context.pool.takes_sockets(app, alone=True):
            self._dispatcher.hand_off(app, handshake.incoming.sock)
        else:
            Passage(self.context, handshake.incoming, app).start()

    def _validate(self, handshake: Handshake, hello: Hello) -> None:
        """Show a certificate authority that we are who is to get a certificate."""
        found = self._certificates.challenge(hello.server_name)
        if found is None or hello.protocols != (ACME,):
            handshake.refuse(NO_APPLICATION_PROTOCOL, counters.NO_PROTOCOL)
        else:
            self._begin(handshake, found, challenge_context)

    def plain(self, incoming: Incoming, peeked: int) -> None:
        """Tell a client that speaks HTTP that this is the wrong port for it."""
        self.counters.refused[counters.PLAIN] += 1
        Client(self.context, incoming).refuse(pages.not_tls(), peeked)

    def speak(self, sock: TlsSocket, incoming: Incoming, data: bytes) -> None:
        """Serve a connection whose handshake is done."""
        speaker = SPEAKERS[sock.protocol or HTTP1]
        speaker(self.context, sock, incoming).received(data)

    def part(self, sock: TlsSocket) -> None:
        """Close later: the client can't be told now that nothing is missing."""
        Farewell(self.context, sock).start()

    def stop(self) -> None:
        """Forget what waits; the connections themselves are the live ones' business."""
        self.turns.stop()
