"""One simulated node: a core, its disk and its state machine, driven as the contract says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ood.raft.core.machine import SessionMachine
from ood.raft.core.node import RawNode
from ood.raft.core.state import Core
from ood.raft.core.types import (
    Configuration,
    Entry,
    Identity,
    Message,
    Options,
    Ready,
    Snapshot,
    Stored,
)
from ood.raft.sim.disk import Disk, Write
from ood.raft.sim.registers import Registers

if TYPE_CHECKING:
    from ood.raft.sim.cluster import Cluster

TURNS = 1000
"""Readies in a row; a node that has more to do each time never ends."""

Reply = Callable[[bool, Any], None]
"""Called with whether the command was applied for certain, and its result."""


class Member:
    """A node that can crash and start again.

    :ivar raw: the core; None while the node is down.
    :ivar snapshot_every: entries between two snapshots; 0: none.
    :ivar on_write: called when a save begins (the world then lets it finish).
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        bootstrap: Configuration | None,
        options: Options,
        jitter: Callable[[int], int],
    ) -> None:
        self.cluster, self.id, self.options, self.jitter = cluster, name, options, jitter
        self.bootstrap = bootstrap
        self.life = 1
        self.snapshot_every = 0
        self.keep = 0
        self.disk = Disk()
        self.raw: RawNode | None = None
        self.machine = SessionMachine(Registers())
        self.on_write: Callable[[Member], None] = Member.sync
        self.applied_log: list[Entry] = []
        self._reset()

    def _reset(self) -> None:
        self.seen_term = self.seen_commit = 0
        self._snapshot_index = 0
        self._busy = False
        self.waiting: dict[int, tuple[int, Reply]] = {}
        self.reads: dict[bytes, Reply] = {}
        self._due: list[tuple[int, bytes]] = []
        self.answers: dict[bytes, int | None] = {}

    @property
    def identity(self) -> Identity:
        """Who this node says it is; a new disk means a new incarnation."""
        incarnation = self.key if self.cluster.incarnations else ""
        return Identity(self.cluster.name, self.id, incarnation)

    @property
    def key(self) -> str:
        """The node's id and the life of its disk."""
        return f"{self.id}.{self.life}"

    @property
    def core(self) -> Core:
        """The core's state, to be looked at."""
        assert self.raw is not None
        return self.raw._core

    def start(self, stored: Stored | None = None) -> None:
        """Start from what the disk holds."""
        self._reset()
        stored = stored or self.disk.load()
        self.machine = SessionMachine(Registers())
        if stored.snapshot is not None:
            self.machine.restore(stored.snapshot.data)
        self._snapshot_index = self.machine.index
        self.raw = RawNode(
            self.identity,
            bootstrap=self.bootstrap,
            stored=stored,
            jitter=self.jitter,
            options=self.options,
            applied=self.machine.index,
        )
        self.cluster.monitors.restarted(self)
        self.process()

    def crash(self, keep: int = 0, steps: int = 0) -> None:
        """Die; see :meth:`ood.raft.sim.disk.Disk.crash` for what survives."""
        self.raw = None
        self.disk.crash(keep, steps)
        self.cluster.monitors.crashed(self)

    def wipe(self) -> None:
        """Lose the disk; what starts next waits to be added."""
        self.crash()
        self.disk = Disk()
        self.bootstrap = None
        self.life += 1

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry is on this disk (in the log or a snapshot)."""
        disk = self.disk
        if disk.snapshot is not None and index <= disk.snapshot.metadata.index:
            return True
        if not disk.entries:
            return False
        position = index - disk.entries[0].index
        return 0 <= position < len(disk.entries) and disk.entries[position].term == term

    def step(self, message: Message, sender: Identity | None) -> None:
        """Take a message and do what follows from it."""
        if self.raw is not None:
            self.raw.step(message, sender)
            self.process()

    def tick(self, count: int = 1) -> None:
        """Let time pass here."""
        if self.raw is not None:
            self.raw.tick(count)
            self.process()

    def command(self, data: bytes, session: str | None, sequence: int, reply: Reply) -> None:
        """Propose a command; raises what the core raises."""
        assert self.raw is not None
        index, term = self.raw.propose(data, session=session, sequence=sequence)
        self.waiting[index] = (term, reply)
        self.process()

    def read(self, context: bytes, reply: Reply) -> None:
        """Wait for the moment a read may be served."""
        assert self.raw is not None
        self.reads[context] = reply
        self.raw.read_index(context)
        self.process()

    def process(self) -> None:
        """Do everything that is ready, in the order of the contract.

        A disk that is quick calls back in the middle of a Ready: its rest goes first.
        """
        if not self._busy:
            self._busy = True
            try:
                self._process()
            finally:
                self._busy = False

    def _process(self) -> None:
        raw = self.raw
        turns = 0
        while raw is not None and raw.has_ready():
            turns += 1
            assert turns < TURNS, f"{self.id} does not come to rest"
            ready = raw.ready()
            raw.advance()
            self.cluster.monitors.taken(self, ready)
            self._carry_out(ready)
            raw = self.raw
        if raw is not None:
            self.cluster.looked(self)

    def _carry_out(self, ready: Ready) -> None:
        self._send(ready.messages)
        if ready.token is not None or ready.messages_after:
            self._write(Write.of(ready))
        if ready.snapshot is not None:
            self.machine.restore(ready.snapshot.data)
            self._applied(self.machine.index)
            self._snapshot_index = self.machine.index
        for entry in ready.committed:
            self._apply(entry)
        for state in ready.read_states:
            self._read_state(state.context, state.index)
        self._serve_reads()
        if ready.committed and self.snapshot_every:
            self._maybe_snapshot()

    def _write(self, write: Write) -> None:
        self.cluster.monitors.issued(self, write)
        self.disk.enqueue(write)
        self.on_write(self)

    def sync(self) -> None:
        """Finish the oldest save and send what waited for it."""
        if self.raw is None or not self.disk.pending:
            return
        write = self.disk.sync()
        self.cluster.monitors.saved(self, write)
        if write.token is not None:
            self.raw.persisted(write.token)
        if write.compact is not None and write.snapshot is not None:
            self.raw.snapshot_taken(write.snapshot, self.keep)
        self._send(write.messages)
        self.process()

    def _send(self, messages: tuple[Message, ...]) -> None:
        for message in messages:
            self.cluster.monitors.sent(self, message)
            self.cluster.post(self, message)

    def _applied(self, index: int) -> None:
        if self.raw is not None:
            self.raw.applied(index)

    def _apply(self, entry: Entry) -> None:
        result = self.machine.apply(entry)
        self.applied_log.append(entry)
        self._applied(entry.index)
        term, reply = self.waiting.pop(entry.index, (0, None))
        if reply is not None:
            reply(term == entry.term, result)

    def _read_state(self, context: bytes, index: int | None) -> None:
        self.answers[context] = index
        if index is not None:
            self._due.append((index, context))
        elif context in self.reads:
            self.reads.pop(context)(False, None)

    def _serve_reads(self) -> None:
        ready = [context for index, context in self._due if index <= self.machine.index]
        if ready:
            self._due = [due for due in self._due if due[0] > self.machine.index]
        for context in ready:
            reply = self.reads.pop(context, None)
            if reply is not None:
                registers = self.machine.machine
                assert isinstance(registers, Registers)
                reply(True, registers.values)

    def _maybe_snapshot(self) -> None:
        if self.machine.index - self._snapshot_index >= self.snapshot_every:
            self.snapshot()

    def snapshot(self) -> None:
        """Take a snapshot of the state machine and save it."""
        assert self.raw is not None
        index = self._snapshot_index = self.machine.index
        snapshot = Snapshot(self.raw.snapshot_metadata(index), self.machine.snapshot())
        self._write(Write(snapshot=snapshot, compact=max(0, index - self.keep)))
