"""The way of a command to the leader, wherever it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from ood.raft.errors import (
    BusyError,
    ConnectionClosedError,
    NotLeaderError,
    OutcomeUnknownError,
    RaftError,
    RedirectError,
    RemoteError,
    StoppedError,
)
from ood.raft.links import NotConnectedError
from ood.raft.machine import user_command
from ood.raft.wire import COMMAND, Command, decode, encode

if TYPE_CHECKING:
    from ood.raft.node import Node

# How often a command looks for a leader while there is none.
LOOK_SECONDS = 0.02


class Requests:
    """Commands of one node's users."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def command(self, command: Command, timeout: float | None, *, forward: bool) -> Deferred[Any]:
        """Have a command applied; see :meth:`Node.command`."""
        node = self._node
        most = node.settings.command_bytes
        if len(command.data) > most:
            return fail(
                RaftError(
                    f"a command of {len(command.data)} bytes; {most} are allowed",
                    "make it smaller, or raise Settings.command_bytes",
                )
            )
        seconds = node.settings.command_seconds if timeout is None else timeout
        deadline = node.clock.seconds() + seconds
        try:  # without a coroutine: on the leader this is the path that has to be fast
            done = self._propose(command, deadline)
        except (NotLeaderError, BusyError, StoppedError):
            return self._search(command, deadline, forward=forward)
        if forward:
            _ = done.addErrback(self._lost, command, deadline)
        return done

    def _propose(self, command: Command, deadline: float) -> Deferred[Any]:
        data = user_command(command.data)
        return self._node.driver.propose(data, command.session, command.sequence, deadline)

    def _lost(self, failure: Failure, command: Command, deadline: float) -> Any:
        """Another leader's entry took the place for good: nothing was done, so again."""
        if not isinstance(failure.value, NotLeaderError):
            return failure
        return self._search(command, deadline, forward=True)

    def _search(self, command: Command, deadline: float, *, forward: bool) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._find_leader(command, deadline, forward=forward))

    async def _find_leader(self, command: Command, deadline: float, *, forward: bool) -> Any:
        """Try until the leader took it or time is over; each try that failed did nothing."""
        node = self._node
        while True:
            try:
                return await self._try(command, deadline, forward=forward)
            except (NotLeaderError, BusyError, NotConnectedError) as error:
                if not forward or node.clock.seconds() + LOOK_SECONDS >= deadline:
                    if isinstance(error, BusyError):
                        raise
                    where = node.address_of(node.leader)
                    raise RedirectError(node.id, node.leader, where) from error
            await node.sleep(LOOK_SECONDS)

    async def _try(self, command: Command, deadline: float, *, forward: bool) -> Any:
        driver = self._node.driver
        if driver.leading:
            return await self._propose(command, deadline)
        if not forward or driver.leader is None:
            raise NotLeaderError(self._node.id, driver.leader)
        return decode(await self.ask(driver.leader, COMMAND, encode(command), deadline))

    async def ask(self, member: str, type: str, arguments: bytes, deadline: float) -> bytes:
        """Call a member.

        :raises NotLeaderError: it does not lead (any more); nothing was done.
        :raises OutcomeUnknownError: the connection broke, or it took too long.
        """
        node = self._node
        asked: Deferred[bytes] = Deferred.fromCoroutine(node.links.invoke(member, type, arguments))
        left = max(deadline - node.clock.seconds(), 0.0)
        _ = asked.addTimeout(left, node.clock, onTimeoutCancel=_took_too_long)
        try:
            return await asked
        except NotConnectedError:
            raise
        except ConnectionClosedError as error:
            raise OutcomeUnknownError(error.message) from error
        except RemoteError as error:
            raise _translated(error, member) from error


def _took_too_long(_: object, seconds: float) -> Any:
    raise OutcomeUnknownError(f"no answer in {seconds:.1f} s")


def _translated(error: RemoteError, member: str) -> RaftError:
    """Return a leader's refusal as our own."""
    if error.remote_code == NotLeaderError.code:
        return NotLeaderError(member, None)
    if error.remote_code == BusyError.code:
        return BusyError(error.message)
    if error.remote_code in (OutcomeUnknownError.code, StoppedError.code):
        return OutcomeUnknownError(error.message)
    return error
