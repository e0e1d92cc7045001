"""The contracts that cross packages.

Process monitor, proxy, store and API know one another only through these;
``ood.service`` puts the parts together.
"""

from __future__ import annotations

import itertools
import math
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from ood.agreement import Agreement
from ood.model.certificates import CertificateStatus
from ood.model.death import DeathList
from ood.model.document import App, Document
from ood.model.release import Order, Release, Step
from ood.model.rules import Maintenance
from ood.model.status import AppStatus, LogLine


class IStore(Interface):
    """Keeps the document."""

    document: Document = Attribute("The document in force.")

    def update(change: Callable[[Document], Document]) -> Deferred[Document]:
        """Replace the document by ``change(document)``.

        Changes are applied one after the other.  The Deferred fires when the new
        document is durable and every subscriber was told; it fails with what
        ``change`` raised, or with :class:`~ood.errors.StoreError`, and then nothing
        has changed.
        """

    def subscribe(callback: Callable[[Document], None]) -> Callable[[], None]:
        """Call ``callback`` with every new document; return what ends that."""


@dataclass(frozen=True)
class Measure:
    """One number that ood measures, for ``/metrics``.

    :ivar name: its name as Prometheus wants it; of a total without ``_total``.
    :ivar doc: what it means.
    :ivar labels: what it is of.
    :ivar total: whether it only grows, from the start of what is measured.
    """

    name: str
    doc: str
    value: float
    labels: Mapping[str, str]
    total: bool = False


@dataclass(frozen=True)
class Distribution:
    """Durations that ood measures, in buckets, for ``/metrics``.

    :ivar buckets: each upper bound in seconds, and how many took no longer than it but longer
        than the one before; the last bound is infinity.
    :ivar total: all durations together, in seconds.
    """

    name: str
    doc: str
    buckets: Sequence[tuple[float, int]]
    total: float
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, as it is kept and served.

    :ivar names: the host names it is valid for, in lower case; some begin with ``*.``.
    :ivar key_pem: the private key; never shown.
    :ivar chain_pem: the certificate itself first, then those between it and a root.
    :ivar not_after: when it expires, in UTC.
    :ivar source: ``acme``, ``file`` or ``self-signed``.
    :ivar fingerprint: SHA-256 of the certificate, in hexadecimal.
    """

    names: tuple[str, ...]
    key_pem: bytes = field(repr=False)
    chain_pem: bytes = field(repr=False)
    not_after: datetime
    source: str
    fingerprint: str


class ICertificates(Interface):
    """The certificates as the proxy sees them.  Nothing here blocks."""

    def find(server_name: str) -> Certificate | None:
        """Return the certificate for a host: one that names it, else one with a wildcard.

        :param server_name: in lower case, without a final dot.
        """

    def challenge(server_name: str) -> Certificate | None:
        """Return what answers a tls-alpn-01 validation of that host, if one is under way."""

    def token(host: str, path_token: str) -> bytes | None:
        """Return the key authorization of an http-01 validation, if one is under way.

        :param path_token: what follows ``/.well-known/acme-challenge/`` in the request.
        """

    def subscribe(callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after certificates have changed; return what ends that."""


class ICertificateDesk(Interface):
    """The certificates as people see them, through the API."""

    def certificates() -> list[CertificateStatus]:
        """Return every certificate, and every lack of one that is wanted."""

    def certificate(name: str) -> CertificateStatus:
        """Return one by its name, or by a name it is valid for."""

    def add_certificate(cert: str, key: str, chain: str) -> Deferred[CertificateStatus]:
        """Take a certificate from files, now and whenever they change.

        :param cert: absolute path of the certificate, and so are the others.
        :param chain: those between it and a root, if they are in another file; or empty.
        """

    def renew_certificate(name: str) -> Deferred[CertificateStatus]:
        """Get a certificate anew; fires when it is served."""

    def revoke_certificate(name: str) -> Deferred[CertificateStatus]:
        """Get a certificate with a new key; fires when the CA has revoked the old one."""

    def remove_certificate(name: str) -> Deferred[None]:
        """Forget a certificate; one that an app needs from a CA is refused."""


@dataclass(eq=False)
class Worker:
    """A worker as the proxy sees it: something that takes requests.

    :ivar app: the app's name.
    :ivar instance: the worker's number within the app.
    :ivar accepting: false once it drains or has died: open nothing new to it.
    :ivar pipes: how many upstream connections the proxy holds to it; the proxy counts.
    :ivar busy: how many of them serve a request; the proxy counts.
    :ivar lingers: it takes no new clients, but still those that stay with it.
    :ivar visited: when such a client was last here, by the clock; the proxy tells.
    :ivar number: no other worker has it.
    :ivar weight: its share of the requests.
    """

    app: str
    instance: int
    accepting: bool = True
    pipes: int = 0
    busy: int = 0
    lingers: bool = False
    visited: float = -math.inf
    number: int = field(default_factory=itertools.count(1).__next__)
    weight: int = 1

    @property
    def place(self) -> bytes:
        """Its place within the app, which its successor has, too."""
        return b"%d" % self.instance

    @property
    def remote(self) -> bool:
        """Whether it is no process of ours: then requests that can be repeated may go to
        another one when it loses them.  A process of ours may have died of the request.
        """
        return False

    def answered(self) -> None:
        """Learn that it began an answer."""

    def failed(self, why: str) -> None:
        """Learn that it could not be reached, or that a request to it was lost."""


@dataclass(frozen=True)
class Upstream:
    """A new connection to a worker.

    :ivar sock: a non-blocking stream socket that now belongs to the caller; it may
        still be connecting (then it becomes writable when it is done, and
        ``SO_ERROR`` tells how it went).
    :ivar worker: the worker at its other end.
    :ivar pipe: whether this is a unix pipe into the worker itself: then the
        ``X-Ood-Peer`` header tells the guard the client's address.
    :ivar agreement: what comes before the first request.
    """

    sock: socket.socket
    worker: Worker
    pipe: bool
    agreement: Agreement | None = None


Refused = Callable[[str, socket.socket], None]
"""``refused(app, sock)``: the socket is the caller's again, no worker took it."""


class IWorkerPool(Interface):
    """The process monitor as the proxy sees it.  Nothing here blocks."""

    def hand_off(app: str, sock: socket.socket, refused: Refused, key: bytes | None = None) -> bool:
        """Give a client's connection, with its unread request, to a worker of ``app``.

        With a ``key`` that is the worker to which the key belongs
        (:mod:`ood.rendezvous`), if it can take it; else the one with the least to do.

        Returns false, and leaves the socket to the caller, if no worker can take one
        now: none runs, or the app's connections may only be proxied.  After true the
        socket is the pool's: it keeps its copy until a worker acknowledged the
        connection, gives it to another worker if that one dies or refuses, and calls
        ``refused`` if there is none left.
        """

    def workers(app: str) -> Sequence[Worker]:
        """Return the workers that can take a request of a client that stays with them."""

    def choose(app: str, tried: Collection[Worker]) -> Worker | None:
        """Return the worker that is to get the next request; None if any may.

        :param tried: workers that could not be reached for it; one of them is only
            returned if there is no other.
        """

    def connect(app: str, worker: Worker | None = None) -> Upstream | None:
        """Open a new upstream connection; None if that can't be done now.

        :param worker: the worker to connect to; None is the one with the fewest connections.
        """

    def takes_sockets(app: str, *, alone: bool) -> bool:
        """Tell whether ``app`` may get client sockets now.

        :param alone: no request of another app can come along on the connection.  A
            worker without the guard does not check Host and gets only such sockets.
        """

    def when_available(app: str) -> Deferred[None]:
        """Fire when a worker of ``app`` can take requests.

        Fails with :class:`~ood.errors.UnavailableError` that says why there is none:
        at once if the app is stopped or unknown, else after a bounded wait.  The
        number of waiters is bounded, too.
        """


class IEdge(Interface):
    """The proxy as the process monitor sees it."""

    def adopt(app: str, sock: socket.socket) -> None:
        """Take a client's idle connection back from a worker that drains.

        It waits for its next request, which is routed like the first one was.
        """

    def strangers(app: str, sock: socket.socket) -> None:
        """Serve a stream of requests that a worker of ``app`` got for other hosts.

        Each request carries the client's address in ``X-Ood-Peer``, which is believed
        here, and only here.
        """


class IProcessMonitor(IWorkerPool):
    """The process monitor as the controller sees it."""

    def converge(document: Document) -> None:
        """Make workers be what ``document`` wants; returns at once."""

    def settled(app: str) -> Deferred[None]:
        """Fire when the app is as the last document wants it: answering, or gone.

        Fails with :class:`~ood.errors.WorkerError` as soon as a worker that was
        started since the last change can't come up; it carries the last log lines.
        """

    def retry(app: str) -> None:
        """Start now what died and waits for its time, or was left stopped."""

    def restart(app: str, candidate: App | None = None) -> Deferred[None]:
        """Replace every worker of a running app, a new one before each old one.

        Fails with :class:`~ood.errors.WorkerError` if a new one does not come up; the
        old ones then go on serving.

        :param candidate: what the new workers run instead of what the document says.
            Once this has succeeded the app is run like that until the next document;
            the caller commits it to the store.  After a failure nothing of it is left.
        """

    def status(app: str) -> AppStatus:
        """Return the live state of ``app``."""

    def deaths(app: str) -> DeathList:
        """Return the last deaths of the app's workers."""


class ILogs(Interface):
    """The apps' logs."""

    def tail(app: str, lines: int, stream: str | None = None) -> list[LogLine]:
        """Return the last ``lines`` lines; ``stream`` keeps only one of out, err, ood."""

    def follow(app: str, callback: Callable[[LogLine], None]) -> Callable[[], None]:
        """Call ``callback`` with every new line; return what ends that."""


@dataclass(frozen=True)
class Notified:
    """What came of telling a target.

    :ivar target: which one, without what is secret in its address.
    :ivar error: why it was not told; empty if it was.
    """

    target: str
    error: str


class INotifier(Interface):
    """Tells the targets of the setting ``notify`` of events."""

    def test() -> Deferred[list[Notified]]:
        """Tell every target now that this is a test; fires with what came of it."""


class IReleases(Interface):
    """The apps' releases on the disk; which one is run is the document's business."""

    def placed(name: str, app: App) -> App:
        """Return ``app`` with the directory that it is really run in as its ``cwd``."""

    def build(name: str, app: App, order: Order, told: Callable[[str, str], None]) -> Deferred[str]:
        """Make a release; fire with its name.

        Cancelled or failed, it leaves nothing behind.

        :param told: called with the step that is being done, and with each line that a
            command writes during it (empty: it begins).
        """

    def listed(name: str, current: str | None) -> list[Release]:
        """Return the complete releases of an app, newest first."""

    def remove(name: str, release: str) -> Deferred[None]:
        """Remove a release."""

    def prune(name: str, current: str | None) -> Deferred[None]:
        """Remove the oldest releases, never the current one."""

    def purge(name: str) -> Deferred[None]:
        """Remove everything of an app."""


class IController(Interface):
    """One method per verb: the only way in which apps and settings are changed.

    Every method fails with :class:`~ood.errors.OodError`, and then has changed nothing
    unless the error says so.
    """

    def init(name: str, values: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Add an app; a missing ``port`` is assigned.  Fires with its configuration."""

    def delete(name: str, *, purge: bool = False) -> Deferred[None]:
        """Stop the app and forget it; its files stay, its releases unless ``purge``."""

    def start(name: str) -> Deferred[AppStatus]:
        """Start the app; fires when all its workers answer."""

    def stop(name: str) -> Deferred[AppStatus]:
        """Stop the app; fires when its processes are gone."""

    def restart(name: str) -> Deferred[AppStatus]:
        """Replace the app's workers without an interruption."""

    def deploy(name: str, order: Order, told: Callable[[Step], None]) -> Deferred[AppStatus]:
        """Make a release and run it; fires when its workers answer.

        After a failure the old release serves on, and nothing is left of the new one.
        Cancelling it works until the new workers are started.

        :param told: called with what is being done; never before the order is accepted.
        """

    def rollback(name: str, release: str | None) -> Deferred[AppStatus]:
        """Run an earlier release: the one before the current one, or the named one.

        :param release: ``cwd`` is what is in the app's own ``cwd``, without a release.
        """

    def releases(name: str) -> list[Release]:
        """Return an app's releases, newest first."""

    def maintenance(name: str, wanted: Maintenance | None) -> Deferred[AppStatus]:
        """Begin an app's maintenance, change it, or (None) end it."""

    def scale(name: str, instances: str) -> Deferred[AppStatus]:
        """Set the number of workers: ``N``, ``+N``, ``-N`` or ``max``."""

    def configuration(name: str | None) -> dict[str, Any]:
        """Return the settings, or an app's configuration, with defaults filled in."""

    def configure(name: str | None, changes: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Change keys of the settings or of an app; None puts a key back to its default."""

    def test_notifications() -> Deferred[list[Notified]]:
        """Tell every target of the setting ``notify`` that this is a test."""

    def status(name: str | None) -> list[AppStatus]:
        """Return the live state of one app or of all."""

    def deaths(name: str) -> DeathList:
        """Return the last deaths of an app's workers, and what they have in common."""

    def tail(name: str, lines: int, stream: str | None) -> list[LogLine]:
        """Return an app's last log lines."""

    def follow(
        name: str, callback: Callable[[LogLine], None], stream: str | None = None
    ) -> Callable[[], None]:
        """Call ``callback`` with every new line of an app's log.

        :param stream: with ``access`` it is the access log's lines.
        """
