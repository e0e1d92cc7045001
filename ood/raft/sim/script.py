"""Directed scenarios: a cluster moved by hand, one line at a time.

A script is text; ``#`` begins a comment, every other line is a verb and its
nouns.  Nothing happens by itself: messages wait until ``settle`` or ``deliver``,
clocks stand until ``tick``; disks are quick unless a node is told to ``hold``::

    nodes a b c            start a cluster of voters (spare d: a node that waits)
    campaign a             let a node campaign        tick b c 12   let time pass
    settle                 deliver everything         deliver a>b   only this link
    propose a x            append x to the one register   read a r1     ask for a read
    isolate a / heal       cut links (cut a>b c>b)    hold a / sync a / release a
    crash a / start a      (crash a 1: the first save under way survives)
    expect a term 2        what must be true now
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ood.errors import OodError
from ood.raft.core import configuration, types
from ood.raft.core.machine import SessionError
from ood.raft.core.start import BOOTSTRAP_TERM
from ood.raft.core.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Identity,
    Message,
    Options,
)
from ood.raft.sim.cluster import Cluster
from ood.raft.sim.expectations import Expectations
from ood.raft.sim.member import Member
from ood.raft.sim.registers import Operation, encode

SETTLE_LIMIT_MESSAGES = 10_000
"""More than any script needs: two nodes answer each other without end."""

JITTER = 5
"""Every election time-out is 10 + 5 ticks, so that 12 ticks end a lease but begin no campaign."""


class ScriptError(AssertionError):
    """A line of a script does not hold; the message says which."""


class Script(Cluster):
    """A cluster that a script moves."""

    def __init__(self) -> None:
        super().__init__(Options(), lambda n: min(JITTER, n - 1))
        self.incarnations = False
        self.mail: list[tuple[Message, Identity]] = []
        self.cut: set[tuple[str, str]] = set()
        self.kept: dict[str, tuple[Message, Identity]] = {}
        self.replies: dict[str, Any] = {}
        self._expect = Expectations(self)

    def run(self, text: str) -> None:
        """Carry out every line."""
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split("#")[0].split()
            if words:
                try:
                    self.do(words)
                except (AssertionError, OodError) as error:
                    raise ScriptError(f"line {number}: {line.strip()}: {error!r}") from error

    def do(self, words: list[str]) -> None:
        """Carry out one line."""
        verb: Callable[..., None] = getattr(self, "do_" + words[0].replace("-", "_"))
        verb(*words[1:])

    # The stage

    def do_options(self, *settings: str) -> None:
        """Choose options before the nodes start: ``options batch_bytes=100``."""
        values = dict(setting.split("=") for setting in settings)
        self.options = Options(**{name: _value(value) for name, value in values.items()})

    def do_incarnations(self) -> None:
        """Let handshakes name the life of the disk (a leader then notes them in the log)."""
        self.incarnations = True

    def do_nodes(self, *names: str) -> None:
        """Start voters that know of each other."""
        for name in names:
            self.add(name, names).start()

    def do_spare(self, *names: str) -> None:
        """Start nodes that wait to be added."""
        for name in names:
            self.add(name).start()

    def do_load(self, name: str, term: str, vote: str, *terms: str) -> None:
        """Make a node with a log of these terms on its disk: ``load a 4 b 2 2 4``.

        Index 1 is the entry that ``nodes`` begins every log with (term 1).
        """
        member = self.add(name)
        member.disk.hard_state = HardState(int(term), None if vote == "-" else vote, 1)
        member.disk.entries = [
            Entry(index, int(t), data=_command(f"{index}.{t} ")) for index, t in enumerate(terms, 2)
        ]

    def do_begin(self) -> None:
        """Start the loaded nodes as the voters of one cluster."""
        voters = Configuration(voters=frozenset(self.members))
        first = Entry(1, BOOTSTRAP_TERM, EntryKind.CONFIGURATION, configuration.encode(voters))
        for member in self.members.values():
            member.disk.entries.insert(0, first)
            member.start()

    # Time, messages

    def do_tick(self, *words: str) -> None:
        """Let time pass: ``tick b c 12``."""
        for name in words[:-1]:
            self.members[name].tick(int(words[-1]))

    def do_settle(self) -> None:
        """Deliver messages until there are none."""
        for _ in range(SETTLE_LIMIT_MESSAGES):
            if not self.mail:
                return
            self._deliver(*self.mail.pop(0))
        raise AssertionError("the nodes do not come to rest")

    def do_deliver(self, *links: str) -> None:
        """Deliver what waits on some links now: ``deliver a>b b>a``."""
        for link in links:
            source, target = link.split(">")
            now = [m for m in self.mail if (m[0].source, m[0].target) == (source, target)]
            self.mail = [m for m in self.mail if m not in now]
            for message, sender in now:
                self._deliver(message, sender)

    def do_drop(self, *links: str) -> None:
        """Lose what waits, everywhere or on some links."""
        self.mail = [m for m in self.mail if links and f"{m[0].source}>{m[0].target}" not in links]

    def do_keep(self, name: str, link: str, kind: str) -> None:
        """Keep a copy of the last such message that waits, to ``replay`` it later."""
        found = [m for m in self.mail if f"{m[0].source}>{m[0].target}" == link]
        self.kept[name] = [m for m in found if type(m[0]).__name__ == kind][-1]

    def do_replay(self, name: str) -> None:
        """Deliver a kept message (again)."""
        self._deliver(*self.kept[name])

    def do_inject(self, kind: str, *fields: str) -> None:
        """Deliver a message made by hand; ``cluster=`` makes it another cluster's."""
        values = {name: _value(value) for name, value in (f.split("=") for f in fields)}
        if "entries" in values:
            values["entries"] = _entries(values["entries"])
        cluster = values.pop("cluster", self.name)
        message = getattr(types, kind)(**values)
        source = self.members[message.source].identity
        self._deliver(message, Identity(cluster, source.id, source.incarnation))

    def post(self, source: Member, message: Message) -> None:
        """Let a message wait, unless its link is cut."""
        if (source.id, message.target) not in self.cut:
            self.mail.append((message, source.identity))

    def _deliver(self, message: Message, sender: Identity) -> None:
        if message.target in self.members and (message.source, message.target) not in self.cut:
            self.members[message.target].step(message, sender)

    # Faults

    def do_cut(self, *links: str) -> None:
        """Cut links: ``cut a>b`` one way, ``cut a-b`` both."""
        for link in links:
            one, other = link.replace(">", "-").split("-")
            self.cut |= {(one, other)} if ">" in link else {(one, other), (other, one)}

    def do_isolate(self, *names: str) -> None:
        """Cut nodes off from all others."""
        for name in names:
            for other in self.members:
                self.cut |= {(name, other), (other, name)}

    def do_heal(self) -> None:
        """Make all links good."""
        self.cut.clear()

    def do_hold(self, name: str) -> None:
        """Let saves wait on a node's disk."""
        self.members[name].on_write = _wait

    def do_sync(self, name: str, count: str = "1") -> None:
        """Finish the oldest saves."""
        for _ in range(int(count)):
            self.members[name].sync()

    def do_release(self, name: str) -> None:
        """Finish all saves; the disk is quick again."""
        member = self.members[name]
        member.on_write = Member.sync
        while member.disk.pending:
            member.sync()

    def do_crash(self, name: str, keep: str = "0", steps: str = "0") -> None:
        """Kill a node: ``crash a 1 2`` keeps one save under way and two steps of the next."""
        self.members[name].crash(int(keep), int(steps))

    def do_start(self, *names: str) -> None:
        """Start nodes again, with quick disks."""
        for name in names:
            self.members[name].on_write = Member.sync
            self.members[name].start()

    def do_wipe(self, name: str) -> None:
        """Take a node's disk away."""
        self.members[name].wipe()

    # What is asked of the nodes

    def do_campaign(self, name: str) -> None:
        """Let a node campaign."""
        member = self.members[name]
        assert member.raw is not None
        member.raw.campaign()
        member.process()

    def do_propose(self, name: str, *values: str) -> None:
        """Append values to the register; ``x=r1`` notes the reply as r1."""
        for value in values:
            data, _, reply = value.partition("=")
            self._command(name, data, None, 0, reply)

    def do_burst(self, name: str, *values: str) -> None:
        """Propose several values before anything is sent."""
        raw = self.members[name].raw
        assert raw is not None
        for value in values:
            raw.propose(_command(value))
        self.members[name].process()

    def do_session(self, name: str, session: str, sequence: str, value: str = "") -> None:
        """Send a session's command; 0 opens it.  The reply is noted as session/sequence."""
        self._command(name, value, session, int(sequence), f"{session}/{sequence}")

    def _command(
        self, name: str, value: str, session: str | None, sequence: int, note: str
    ) -> None:
        def reply(known: bool, result: Any) -> None:
            refused = isinstance(result, SessionError)
            self.replies[note] = "lost" if not known else "refused" if refused else result

        self.members[name].command(_command(value), session, sequence, reply)

    def do_read(self, name: str, note: str) -> None:
        """Begin a read; when it is served, what it saw is noted."""

        def reply(known: bool, values: Any) -> None:
            self.replies[note] = values.get("log", "") if known else "lost"

        self.members[name].read(note.encode(), reply)

    def do_transfer(self, name: str, target: str) -> None:
        """Ask a leader to hand over."""
        member = self.members[name]
        assert member.raw is not None
        member.raw.transfer_leadership(target)
        member.process()

    def do_change(self, name: str, *sets: str) -> None:
        """Propose members: ``change a voters=a,b learners=c promote=c``."""
        member = self.members[name]
        assert member.raw is not None
        fields: dict[str, Any] = {}
        for item in sets:
            key, _, names = item.partition("=")
            fields[key] = [n for n in names.split(",") if n]
        member.raw.propose_configuration(**fields)
        member.process()

    def do_add(self, name: str, member: str) -> None:
        """Ask a leader to add a member (by its id and its disk's life)."""
        leader, new = self.members[name], self.members[member]
        assert leader.raw is not None
        leader.raw.add_member(member, new.identity.incarnation)
        leader.process()

    def do_remove(self, name: str, member: str) -> None:
        """Ask a leader to remove a member."""
        leader = self.members[name]
        assert leader.raw is not None
        leader.raw.remove_member(member)
        leader.process()

    def do_snapshot(self, name: str, keep: str = "0") -> None:
        """Let a node take a snapshot and compact its log."""
        self.members[name].keep = int(keep)
        self.members[name].snapshot()

    # What must be true

    def do_refuse(self, error: str, *words: str) -> None:
        """Carry out a line that must be refused with this error."""
        try:
            self.do(list(words))
        except OodError as refusal:
            assert type(refusal).__name__ == error, repr(refusal)
        else:
            raise AssertionError("it was not refused")

    def do_expect(self, *words: str) -> None:
        """Check one fact; :mod:`ood.raft.sim.expectations` lists them."""
        self._expect.check(list(words))


def _wait(_member: Member) -> None:
    """Leave a save under way."""


def _command(value: str) -> bytes:
    return encode(Operation("append", "log", value))


def _entries(text: str) -> tuple[Entry, ...]:
    """Read ``2.3,3.3``: entries by index and term."""
    pairs = [item.split(".") for item in text.split(",")]
    return tuple(Entry(int(i), int(t), data=_command(f"{i}.{t} ")) for i, t in pairs)


def _value(text: str) -> Any:
    """Read a field: a number, a truth, or a word."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text
