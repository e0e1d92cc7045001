"""Clients that write down what they saw."""

from __future__ import annotations

from typing import Any

from ood.errors import OodError
from ood.raft.core.machine import SessionError
from ood.raft.sim.linearizability import Call
from ood.raft.sim.member import Member
from ood.raft.sim.registers import Operation, encode
from ood.raft.sim.world import World

PATIENCE = 150
"""Units of time a client waits for an answer before it tries again elsewhere."""

TRIES = 12
"""How often a client tries before it writes down that it does not know."""

KEYS = ("x", "y")
"""The registers; few, so that clients meet."""


class Client:
    """One session: one operation after the other, each retried under its number.

    :ivar history: everything that was called and what came of it.
    """

    def __init__(self, world: World, name: str, history: list[Call]) -> None:
        self._world, self._name, self.history = world, name, history
        self._sequence = -1
        self._attempt = 0
        self._operation = Operation("put", "opening")
        self._start = 0
        self._tries = 0
        self.stopped = False

    def begin(self) -> None:
        """Begin the next operation; the first one only opens the session."""
        if self.stopped:
            return
        self._sequence += 1
        self._tries = 0
        self._start = self._world.now
        self._operation = self._choose() if self._sequence else self._operation
        self._try()

    def _choose(self) -> Operation:
        random = self._world.random
        key = random.choice(KEYS)
        mark = f"{self._name}{self._sequence}."
        name = random.choice(("get", "get", "put", "append", "append", "swap"))
        return Operation(name, key, mark, mark if random.random() < 0.5 else "")

    def _try(self) -> None:
        self._attempt += 1
        self._tries += 1
        if self._tries > TRIES or self.stopped:
            self._finish(None, None)
            return
        self._world.later(PATIENCE, self._give_up, self._attempt)
        self._world.later(self._world.random.randint(1, 3), self._ask, self._attempt)

    def _target(self) -> Member | None:
        """Any node; more often one that believes it leads, also if it no longer does."""
        up = [m for m in self._world.members.values() if m.raw and m.id not in self._world.paused]
        leaders = [m for m in up if m.core.leading]
        if leaders and self._world.random.random() < 0.8:
            up = leaders
        return self._world.random.choice(up) if up else None

    def _ask(self, attempt: int) -> None:
        member = self._target()
        if attempt != self._attempt or member is None:
            return

        def reply(known: bool, result: Any) -> None:
            self._world.later(self._world.random.randint(1, 3), self._reply, attempt, known, result)

        try:
            self._send(member, reply)
        except OodError:
            self._world.later(20, self._give_up, attempt)

    def _send(self, member: Member, reply: Any) -> None:
        operation = self._operation
        if operation.name != "get":
            member.command(encode(operation), self._name, self._sequence, reply)
            return

        def read(known: bool, values: Any) -> None:
            reply(known, values.get(operation.key, "") if known else None)

        member.read(f"{self._name}/{self._attempt}".encode(), read)

    def _reply(self, attempt: int, known: bool, result: Any) -> None:
        if attempt != self._attempt:
            return
        if known and not isinstance(result, SessionError):
            self._finish(self._world.now, result)
        else:
            self._try()

    def _give_up(self, attempt: int) -> None:
        if attempt == self._attempt:
            self._try()

    def _finish(self, end: int | None, result: Any) -> None:
        self._attempt += 1
        if self._sequence:
            self.history.append(Call(self._operation, self._start, end, result))
        elif end is None:
            self._sequence = -1  # not open yet: nothing else may be sent
        self._world.later(self._world.random.randint(1, 30), self.begin)
