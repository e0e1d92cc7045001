"""One server of an app that ood does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from ood.agreement import Agreement
from ood.clock import Seldom
from ood.interfaces import Upstream, Worker
from ood.model.status import UpstreamStatus
from ood.proxy.core.wellness import Wellness
from ood.proxy.names import Address, begin, known

if TYPE_CHECKING:
    from ood.model import upstreams
    from ood.proxy.remoteapp import RemoteApp
    from ood.proxy.tls.outgoing import Towards

LOST_SECONDS = 10.0
"""The log tells of a server's lost requests no more often: with many, one tells why."""


class RemoteServer(Worker):
    """A server that somebody else runs, as the proxy sees it.

    :param towards: how TLS is spoken to it; None if it is not.
    :ivar server: as configured.
    :ivar weight: its share of the requests.
    :ivar where: its address, or the name that stands for it.
    :ivar turn: see :func:`ood.proxy.core.balance.round_robin`.
    :ivar addresses: where to connect to; none while its name is not known.
    :ivar wellness: what is known of it.
    :ivar requests: requests that it began to answer.
    :ivar failures: those that it lost, and connections that could not be made.
    :ivar missed: the log says that it gets no requests.
    """

    def __init__(
        self,
        owner: RemoteApp,
        instance: int,
        server: upstreams.Upstream,
        towards: Towards | None = None,
    ) -> None:
        super().__init__(owner.name, instance, accepting=False)
        self._owner = owner
        self._towards = towards
        self._next = 0
        self._timer: IDelayedCall | None = None
        self.where = server.place()
        self.server = server
        self.weight = server.weight
        self.turn = 0
        self.addresses: tuple[Address, ...] = known(self.where)
        self.wellness = Wellness()
        self.requests = 0
        self.failures = 0
        self.missed = False
        self._told = Seldom(owner.clock, LOST_SECONDS)

    @property
    def remote(self) -> bool:
        """It is no process of ours."""
        return True

    @property
    def place(self) -> bytes:
        """What tells it from the others of its app."""
        return self.server.address.encode()

    @property
    def state(self) -> str:
        """Whether it is well, for people."""
        if self.wellness.checked is None and not self.wellness.lost:
            return "launching"
        well = self.wellness.usable(self._owner.clock.seconds())
        return "online" if self.addresses and well else "errored"

    def configured(self, instance: int, server: upstreams.Upstream) -> None:
        """Take over what was changed."""
        self.instance, self.server, self.weight = instance, server, server.weight

    # What the proxy tells.

    def answered(self) -> None:
        """Learn that it began an answer."""
        self.requests += 1
        if self.wellness.lost:
            self.wellness = self.wellness.after_answer()
            self.look()

    def failed(self, why: str) -> None:
        """Learn that it could not be reached, or that a request to it was lost."""
        self.failures += 1
        app, now = self._owner.app, self._owner.clock.seconds()
        seconds = app.fail_timeout / 1000
        self.wellness = self.wellness.after_failure(why, now, app.max_fails, seconds)
        self.look()
        if self.accepting and self._told.allows():  # else the log says that it is out, and why
            self._owner.lost(self, why)

    def connect(self) -> Upstream | None:
        """Begin a connection; None, and counted as a failure, if that fails at once."""
        if not self.addresses:
            return None
        try:
            sock = begin(self.address)
        except OSError as error:
            self.failed(f"it can't be reached: {error.strerror}")
            self._next += 1
            return None
        return Upstream(sock=sock, worker=self, pipe=False, agreement=self.handshake())

    def handshake(self) -> Agreement | None:
        """Return what a connection to it begins with."""
        return None if self._towards is None else self._towards.handshake()

    # What checks and look-ups tell.

    def checked(self, failure: str | None) -> None:
        """Take the outcome of a check."""
        if failure is not None:
            self._next += 1  # the next one goes to another address of the name
        self.wellness = self.wellness.after_check(failure, self._owner.app.max_fails)
        self.look()

    def resolved(self, addresses: tuple[Address, ...]) -> None:
        """Take what its name stands for; without an answer the last good one holds."""
        if addresses and not self.addresses:
            self.wellness = Wellness()
        if addresses:
            self.addresses = addresses
        elif not self.addresses:
            self.checked(f"its name {self.where.host} can't be looked up")
        self.look()

    @property
    def address(self) -> Address:
        """The address that the next connection goes to; there is one."""
        return self.addresses[self._next % len(self.addresses)]

    # What follows.

    def look(self) -> None:
        """See whether it gets requests now, and when to look again."""
        now = self._owner.clock.seconds()
        self.accepting = self._usable(now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.wellness.out_until > now:
            seconds = self.wellness.out_until - now
            self._timer = self._owner.clock.callLater(seconds, self._again)
        self._owner.changed(self)

    def _again(self) -> None:
        self._timer = None
        self.look()

    def _usable(self, now: float) -> bool:
        return bool(self.addresses) and self._owner.app.running and self.wellness.usable(now)

    def stop(self) -> None:
        """Get no more requests."""
        self.accepting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def status(self) -> UpstreamStatus:
        """Return its state, for people."""
        return UpstreamStatus(
            address=self.server.address,
            state=self.state,
            weight=self.weight,
            backup=self.server.backup,
            busy=self.busy,
            requests=self.requests,
            failures=self.failures,
            reason=self.wellness.reason,
        )
