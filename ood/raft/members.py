"""Changes of who takes part: join, leave, hand leadership over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from ood.raft.adapters import adapt_connection
from ood.raft.callbacks import resolved
from ood.raft.core.types import Configuration
from ood.raft.errors import (
    BusyError,
    ChangeError,
    NotLeaderError,
    OutcomeUnknownError,
    RaftError,
    RedirectError,
)
from ood.raft.events import Event, LeaderChanged, MembershipChanged
from ood.raft.handshake import greet
from ood.raft.links import NotConnectedError
from ood.raft.wire import JOIN, LEAVE, TRANSFER, Hello, decode, encode

if TYPE_CHECKING:
    from ood.raft.node import Node

# Pause before a change is tried again that another change was in the way of.
AGAIN_SECONDS = 0.1

Condition = Callable[[], bool]


@dataclass(frozen=True)
class Ask:
    """What the leader is asked for, should another node lead."""

    type: str
    argument: Any
    deadline: float
    forward: bool


class Members:
    """The membership as one node can change it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: list[tuple[Condition, Deferred[None]]] = []

    def on_event(self, event: Event) -> None:
        """Look whether somebody's condition is true now."""
        if not isinstance(event, MembershipChanged | LeaderChanged):
            return
        for waiting in list(self._waiting):
            condition, done = waiting
            if condition():
                self._waiting.remove(waiting)
                done.callback(None)

    async def _until(self, condition: Condition, deadline: float, what: str) -> None:
        if condition():
            return
        done: Deferred[None] = Deferred()
        waiting = (condition, done)
        self._waiting.append(waiting)
        left = max(deadline - self._node.clock.seconds(), 0.0)

        def too_late(_: object, __: float) -> Any:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            raise OutcomeUnknownError(f"{what} takes too long")

        await done.addTimeout(left, self._node.clock, onTimeoutCancel=too_late)

    def join(self, peer: Any, *, forward: bool = True) -> Deferred[str]:
        """Make ``peer`` a member; see :meth:`Node.join`.

        :param forward: false: only if this node leads; whoever asks looks on.
        """
        deadline = self._deadline()

        async def here() -> str:
            return await self._join(peer, deadline)

        ask = Ask(JOIN, peer, deadline, forward)
        return Deferred.fromCoroutine(self._on_leader(here, ask))

    def leave(self, member: str, *, forward: bool = True) -> Deferred[None]:
        """Remove a member; see :meth:`Node.leave`."""
        deadline = self._deadline()

        async def here() -> None:
            await self._leave(member, deadline)

        ask = Ask(LEAVE, member, deadline, forward)
        return Deferred.fromCoroutine(self._on_leader(here, ask))

    def transfer(self, member: str | None, *, forward: bool = True) -> Deferred[str]:
        """Hand leadership over; see :meth:`Node.transfer_leadership`."""
        deadline = self._node.clock.seconds() + self._node.settings.command_seconds

        async def here() -> str:
            return await self._transfer(member, deadline)

        ask = Ask(TRANSFER, member, deadline, forward)
        return Deferred.fromCoroutine(self._on_leader(here, ask))

    def _deadline(self) -> float:
        return self._node.clock.seconds() + self._node.settings.join_seconds

    async def _on_leader(self, here: Callable[[], Awaitable[Any]], ask: Ask) -> Any:
        """Do it here if this node leads, else ask the leader to."""
        node = self._node
        while True:
            try:
                return await self._try(here, ask)
            except (NotLeaderError, BusyError, NotConnectedError) as error:
                if not ask.forward or node.clock.seconds() + AGAIN_SECONDS >= ask.deadline:
                    raise RedirectError(node.id, node.leader) from error
            await node.sleep(AGAIN_SECONDS)

    async def _try(self, here: Callable[[], Awaitable[Any]], ask: Ask) -> Any:
        driver = self._node.driver
        if driver.leading:
            return await here()
        if not ask.forward or driver.leader is None:
            raise NotLeaderError(self._node.id, driver.leader)
        body = encode(ask.argument)
        return decode(await self._node.ask(driver.leader, ask.type, body, ask.deadline))

    async def _join(self, peer: Any, deadline: float) -> str:
        node = self._node
        hello = await self._ask_who(peer)
        member = hello.id
        if member == node.id:
            raise ChangeError("a node can't join itself")
        if member in self._configuration().members:
            self._check_life(hello)
        else:
            if not hello.empty:
                raise ChangeError(
                    f"{member} holds a log of its own",
                    "start it with bootstrap=False and an empty directory",
                )
            await node.announce({**node.own_addresses(), member: peer}, deadline)
            await self._propose(
                lambda: node.driver.raw.add_member(member, hello.incarnation), deadline
            )
        node.connect_members()

        def votes() -> bool:
            configuration = self._node.driver.committed_configuration
            return member in configuration.voters and not configuration.joint

        await self._until(votes, deadline, f"joining {member}")
        return member

    def _check_life(self, hello: Hello) -> None:
        """Raise if a member came back with another disk: it forgot what it promised."""
        known = self._configuration().incarnations.get(hello.id)
        if known is not None and known != hello.incarnation:
            raise ChangeError(
                f"{hello.id} is a member, but lost its disk", "remove it first: leave(its id)"
            )

    async def _ask_who(self, peer: Any) -> Hello:
        node = self._node
        connection = adapt_connection(await resolved(node.links.transport.connect(peer)))
        hello = await greet(connection, node.hello(), node.clock)
        await connection.close()
        return hello

    async def _leave(self, member: str, deadline: float) -> None:
        if member not in self._configuration().members:
            raise ChangeError(f"{member} is no member", "see Node.peers")
        if self._configuration().voters == {member}:
            raise ChangeError(f"{member} is the last member", "stop it instead")
        await self._propose(lambda: self._node.driver.raw.remove_member(member), deadline)

        def gone() -> bool:
            return member not in self._node.driver.committed_configuration.members

        await self._until(gone, deadline, f"removing {member}")

    async def _propose(self, propose: Callable[[], object], deadline: float) -> None:
        """Propose a change as soon as no other one is under way."""
        node = self._node
        while True:
            try:
                propose()
            except (BusyError, ChangeError) as error:
                if node.clock.seconds() + AGAIN_SECONDS >= deadline or _is_final(error):
                    raise
            else:
                node.driver.wake()
                return
            await node.sleep(AGAIN_SECONDS)

    async def _transfer(self, member: str | None, deadline: float) -> str:
        node = self._node
        target = member or self._most_advanced()
        node.driver.raw.transfer_leadership(target)
        node.driver.wake()
        await self._until(
            lambda: node.leader not in (None, node.id), deadline, f"handing over to {target}"
        )
        return str(node.leader)

    def _most_advanced(self) -> str:
        status = self._node.driver.raw.status()
        others = status.configuration.voters - {self._node.id}
        if not others:
            raise ChangeError("there is no other voter to hand leadership to")
        return max(sorted(others), key=lambda member: status.progress[member].match)

    def _configuration(self) -> Configuration:
        return self._node.driver.raw.configuration


def _is_final(error: RaftError) -> bool:
    """Whether trying again can't help: only a change under way passes by itself."""
    return isinstance(error, ChangeError) and "another change" not in error.message
