"""The node: a member of a cluster, ready for use.

>>> node = Node()                       # alone, in memory
>>> await node.start()
>>> await node.command(b"hello")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random, SystemRandom
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ood.clock import MonotonicClock
from ood.raft.adapters import adapt_persistence
from ood.raft.callbacks import with_callback
from ood.raft.core.errors import RaftError
from ood.raft.core.machine import SessionMachine, StateMachine
from ood.raft.core.node import RawNode
from ood.raft.core.types import Configuration, HardState, Identity, Role
from ood.raft.driver import Driver
from ood.raft.errors import StoppedError
from ood.raft.events import Event, Events, Stopped
from ood.raft.inbound import Inbound
from ood.raft.interfaces import Callback, IListener, PersistentState
from ood.raft.links import Links
from ood.raft.machine import AddressedMachine, NothingMachine, address_command
from ood.raft.members import Members
from ood.raft.memory import MemoryPersistence, MemoryTransport
from ood.raft.options import Settings
from ood.raft.requests import Requests
from ood.raft.stats import Stats, collect
from ood.raft.wire import PROTOCOL_VERSION, Command, Hello

DEFAULT_CLUSTER = "raft"

# Members whose own word on their address is kept; far more than a cluster has.
HEARD_MEMBERS = 256


class Node:
    """One member of a cluster.

    :param id: names it, for ever and uniquely in its cluster; made by ``uuid``
        if not given.  With TLS its certificate has to name it.
    :param cluster: names the cluster; members of others are refused.
    :param transport: how to reach peers; in memory if not given.
    :param persistence: where state is kept; in memory if not given.
    :param uuid: makes unique strings.
    :param clock: counts time, monotonic.
    :param random: spreads elections.
    :param machine: what commands are applied to.
    :param address: where to listen; peers are told what the transport makes of it.
    :param peers: the other first members by id, with their addresses; the same
        members on each of them.
    :param bootstrap: false: wait to be joined by a member of the cluster.
    :param settings: times and limits.
    """

    log = Logger()

    def __init__(
        self,
        id: str | None = None,
        cluster: str | None = None,
        transport: IListener | None = None,
        persistence: Any = None,
        uuid: Callable[[], str] | None = None,
        *,
        clock: IReactorTime | None = None,
        random: Random | None = None,
        machine: StateMachine | None = None,
        address: Any = None,
        peers: Mapping[str, Any] | None = None,
        bootstrap: bool = True,
        settings: Settings | None = None,
    ) -> None:
        self._uuid = uuid or (lambda: uuid4().hex)
        self._named = id is not None
        self.id = id if id is not None else self._uuid()
        self.cluster = cluster or DEFAULT_CLUSTER
        self.clock = clock if clock is not None else _production_clock()
        self.settings = settings or Settings()
        self.events = Events()
        self.machine: StateMachine = machine if machine is not None else NothingMachine()
        self._random = random or SystemRandom()
        self._transport = transport if transport is not None else MemoryTransport(self.clock)
        self._persistence = adapt_persistence(
            persistence if persistence is not None else MemoryPersistence()
        )
        self._listen_at = address
        self._heard: dict[str, Any] = {}
        self._gone: list[Deferred[None]] | None = []
        self._first_peers = dict(peers or {})
        self._bootstrap = bootstrap
        self._identity = Identity(self.cluster, self.id)
        self._addressed = AddressedMachine(self.machine)
        self._sessions = SessionMachine(self._addressed)
        self._driver: Driver | None = None
        self._links: Links | None = None
        self._inbound = Inbound(self)
        self.members = Members(self)
        self._requests = Requests(self)
        self._stopped = ""
        self.address: Any = None

    # Life

    def start(self, callback: Callback | None = None) -> Deferred[None]:
        """Load what is kept, listen, take part; fire when that is done."""
        return with_callback(Deferred.fromCoroutine(self._start()), callback)

    async def _start(self) -> None:
        if self._driver is not None:
            raise RaftError(f"node {self.id} is started already", "make a new one to start again")
        state = await self._persistence.load_state()
        await self._take_identity(state)
        stored = state.stored
        if stored.snapshot is not None:
            self._sessions.restore(stored.snapshot.data)
        raw = RawNode(
            self._identity,
            bootstrap=self._first_configuration(),
            stored=stored,
            jitter=self._random.randrange,
            options=self.settings.core,
            applied=self._sessions.index,
        )
        self._links = Links(self._transport, self.clock, self._random, self.hello, self._lost)
        self._driver = self._make_driver(raw, self._links)
        self.events.subscribe(self.members.on_event)
        where = self._listen_at if self._listen_at is not None else self.id
        self.address = await self._transport.listen(where, self._inbound.accept)
        self._driver.start()
        self.connect_members()

    def _make_driver(self, raw: RawNode, links: Links) -> Driver:
        return Driver(
            raw,
            identity=self._identity,
            persistence=self._persistence,
            machine=self._sessions,
            clock=self.clock,
            events=self.events,
            send=links.send,
            members_changed=self.connect_members,
            failed=self._failed,
            policy=self.settings.policy,
        )

    async def _take_identity(self, state: PersistentState) -> None:
        kept = state.identity
        if kept is None:
            self._identity = Identity(self.cluster, self.id, self._uuid())
            await self._persistence.save_meta(self._identity, HardState())
            return
        if (self._named and kept.id != self.id) or kept.cluster != self.cluster:
            raise RaftError(
                f"this state belongs to node {kept.id} of cluster {kept.cluster}, "
                f"not to {self.id} of {self.cluster}",
                "use another directory, or the id and cluster it was made with",
            )
        self._identity, self.id = kept, kept.id

    def _first_configuration(self) -> Configuration | None:
        if not self._bootstrap:
            return None
        return Configuration(voters=frozenset({self.id, *self._first_peers}))

    def stop(self, callback: Callback | None = None) -> Deferred[None]:
        """Stop; fire when all it had open is closed.  What waits fails."""
        return with_callback(Deferred.fromCoroutine(self._stop("")), callback)

    async def _stop(self, reason: str) -> None:
        if self._stopped:
            await self._until_gone()
            return
        self._stopped = reason or "stop was called"
        if self._driver is not None:
            self._driver.stop()
        try:
            await self._close_all()
        finally:
            waiting, self._gone = self._gone, None
            for waiter in waiting or ():
                waiter.callback(None)
            self.events.emit(Stopped(reason))

    async def _close_all(self) -> None:
        """Close connections, then the log, whatever goes wrong on the way."""
        try:
            if self._links is not None:
                await self._links.stop()
            await self._transport.stop()
        finally:
            await self._persistence.close()

    async def _until_gone(self) -> None:
        if self._gone is not None:
            waiter: Deferred[None] = Deferred()
            self._gone.append(waiter)
            await waiter

    def _failed(self, error: Exception) -> None:
        """The disk or the machine failed: a node that can't remember must not vote."""
        self.log.critical("node {id} stops: {error}", id=self.id, error=error)
        if self._driver is not None:
            self._driver.stop()
        _ = Deferred.fromCoroutine(self._stop(str(error) or type(error).__name__)).addErrback(
            lambda failure: self.log.error("while stopping: {error}", error=failure.value)
        )

    @property
    def stopped(self) -> str:
        """Why the node is stopped, "" while it is not."""
        return self._stopped

    # The world

    @property
    def driver(self) -> Driver:
        """The running core.

        :raises StoppedError: there is none.
        """
        if self._driver is None or self._stopped:
            raise StoppedError(self._stopped or "it was not started")
        return self._driver

    @property
    def last_driver(self) -> Driver:
        """The core, also after the node was stopped."""
        if self._driver is None:
            raise StoppedError("it was not started")
        return self._driver

    @property
    def links(self) -> Links:
        """The connections to members."""
        if self._links is None:
            raise StoppedError("it was not started")
        return self._links

    @property
    def identity(self) -> Identity:
        """Cluster, id and incarnation."""
        return self._identity

    @property
    def peers(self) -> list[str]:
        """The ids of all the known peers, sorted; this node is not among them."""
        if self._driver is None:
            return sorted(self._first_peers)
        return sorted(self._driver.raw.configuration.members - {self.id})

    @property
    def leader(self) -> str | None:
        """Who leads, as far as this node knows."""
        return self._driver.leader if self._driver is not None else None

    @property
    def role(self) -> Role:
        """What this node is at the moment."""
        return self._driver.raw.status().role if self._driver is not None else Role.FOLLOWER

    def address_of(self, member: str | None) -> Any:
        """Return how to connect to a member, ``None`` if that is not known."""
        if member is None:
            return None
        # What a member says of itself is newer than what was replicated once.
        for known in (self._heard, self._addressed.addresses, self._first_peers):
            if known.get(member) is not None:
                return known[member]
        return None

    def own_addresses(self) -> dict[str, Any]:
        """Return the addresses of members as this node knows them, its own included."""
        known = {member: self.address_of(member) for member in self.peers}
        return {**known, self.id: self.address}

    def hello(self) -> Hello:
        """Return what this node says of itself."""
        raw = self.driver.raw
        return Hello(
            PROTOCOL_VERSION,
            self.cluster,
            self.id,
            self._identity.incarnation,
            self.address,
            empty=not raw.configuration.members,
        )

    def heard_from(self, hello: Hello) -> None:
        """A member connected: keep the address it says it has."""
        if hello.address is None or self.address_of(hello.id) == hello.address:
            return
        self._heard[hello.id] = hello.address
        while len(self._heard) > HEARD_MEMBERS:
            del self._heard[next(iter(self._heard))]
        self.connect_members()

    def connect_members(self) -> None:
        """Keep connections to exactly the members there are."""
        if self._links is None or self._stopped:
            return
        members = set(self.peers)
        if self._driver is not None:
            members |= self._driver.committed_configuration.members
            members |= {self._driver.leader or self.id}
            members -= {self.id}
        if not members:
            members = {*self._first_peers, *self._heard}  # joined, but the log did not come yet
        wanted = {member: self.address_of(member) for member in members}
        self._links.want({key: value for key, value in wanted.items() if value is not None})

    def _lost(self, member: str) -> None:
        if self._driver is not None:
            self._driver.lost(member)

    def subscribe(self, watcher: Callable[[Event], object]) -> Callable[[], None]:
        """Have ``watcher(event)`` called (see :mod:`ood.raft.events`); return what ends it."""
        return self.events.subscribe(watcher)

    def stats(self) -> Stats:
        """Return what people and metrics want to know."""
        return collect(self)

    async def ask(self, member: str, type: str, arguments: bytes, deadline: float) -> bytes:
        """Call a member (see :meth:`ood.raft.requests.Requests.ask`)."""
        return await self._requests.ask(member, type, arguments, deadline)

    # Work

    def command(
        self,
        cmd: bytes,
        session: str | None = None,
        sequence: int = 0,
        *,
        timeout: float | None = None,
        forward: bool = True,
        callback: Callback | None = None,
    ) -> Deferred[Any]:
        """Have a command applied on every member; fire with this machine's result.

        On a member that does not lead it is forwarded to the leader.

        :param session: with ``sequence``, the command is applied at most once,
            however often it is sent; sequence 0 opens the session.
        :param forward: false: fail with the leader's address instead.
        :raises RedirectError: nothing was done; says who leads.
        :raises OutcomeUnknownError: nobody knows; it may be applied yet.
        """
        if sequence and session is None:
            raise ValueError("a sequence needs a session")
        work = self._requests.command(Command(cmd, session, sequence), timeout, forward=forward)
        return with_callback(work, callback)

    def read(
        self, *, timeout: float | None = None, callback: Callback | None = None
    ) -> Deferred[int]:
        """Fire when this node's machine holds all that was committed before the call.

        What is then read from the machine, in the same turn, is linearizable.
        """
        seconds = self.settings.command_seconds if timeout is None else timeout
        return with_callback(Deferred.fromCoroutine(self._read(seconds)), callback)

    async def _read(self, seconds: float) -> int:
        return await self.driver.read(self.clock.seconds() + seconds)

    def snapshot(self) -> Deferred[int]:
        """Take a snapshot now; fire with its index when it is durable."""
        return self.driver.take_snapshot()

    # Members

    def join(self, peer: Any, *, callback: Callback | None = None) -> Deferred[str]:
        """Make ``peer`` a member; fire with its id when it votes.

        :param peer: how the transport connects to it.  It was started with
            ``bootstrap=False`` and holds nothing.
        """
        return with_callback(self.members.join(peer), callback)

    def leave(
        self, member: str | None = None, *, callback: Callback | None = None
    ) -> Deferred[None]:
        """Remove this node (or ``member``); fire when that is committed."""
        return with_callback(self.members.leave(member or self.id), callback)

    def transfer_leadership(
        self, member: str | None = None, *, callback: Callback | None = None
    ) -> Deferred[str]:
        """Hand leadership to ``member`` (or the most advanced); fire with who leads then."""
        return with_callback(self.members.transfer(member), callback)

    def announce(self, addresses: dict[str, Any], deadline: float) -> Deferred[Any]:
        """Tell every member these addresses, through the log."""
        return self.driver.propose(address_command(addresses), None, 0, deadline)

    def sleep(self, seconds: float) -> Deferred[None]:
        """Fire after a while."""
        done: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self.clock.callLater(seconds, done.callback, None)
        return done


def _production_clock() -> IReactorTime:
    from twisted.internet import reactor  # noqa: PLC0415  only a node without a clock needs it

    return MonotonicClock(reactor)
