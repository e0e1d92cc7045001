"""The facts a script can ask for: ``expect a role leader``, ``expect reply r1 xyz``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ood.raft.core.types import AppendReply
from ood.raft.sim.registers import Registers

if TYPE_CHECKING:
    from ood.raft.sim.script import Script


class Expectations:
    """Looks at a scripted cluster."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def check(self, words: list[str]) -> None:
        """Compare one fact with what was expected (the words after it)."""
        if words[0] == "reply":
            seen, wanted = self._reply(words[1]), words[2:]
        elif words[0] == "mail":
            seen, wanted = self._mail(words[1], words[2]), words[3:]
        else:
            seen, wanted = self._fact(words[0], words[1], words[2:3]), words[2:]
            if words[1] in ("flow", "match"):
                wanted = words[3:]
        assert seen == wanted, f"it is {' '.join(seen) or 'empty'}"

    def _reply(self, note: str) -> list[str]:
        """A command's result or what a read saw; ``waiting`` if there is none yet."""
        return str(self._script.replies.get(note, "waiting")).split()

    def _mail(self, link: str, kind: str) -> list[str]:
        """How many messages of a kind wait on a link; a Rejection is a refusing AppendReply."""
        waiting = [m for m, _ in self._script.mail if f"{m.source}>{m.target}" == link]
        if kind == "Rejection":
            return [str(sum(isinstance(m, AppendReply) and m.rejected for m in waiting))]
        return [str(sum(type(m).__name__ == kind for m in waiting))]

    def _fact(self, name: str, fact: str, rest: list[str]) -> list[str]:
        member = self._script.members[name]
        if fact == "state":
            assert isinstance(member.machine.machine, Registers)
            return member.machine.machine.values.get("log", "").split()
        if fact == "up":
            return ["yes" if member.raw else "no"]
        assert member.raw is not None, f"{name} is down"
        if fact in ("flow", "match"):
            status = member.raw.status().progress[rest[0]]
            return [status.state if fact == "flow" else str(status.match)]
        return self._status(name, fact)

    def _status(self, name: str, fact: str) -> list[str]:
        core = self._script.members[name].core
        log, configuration = core.log, core.configuration
        facts = {
            "role": lambda: [core.role.value],
            "leader": lambda: [core.leader or "none"],
            "term": lambda: [str(core.term)],
            "vote": lambda: [core.vote or "none"],
            "commit": lambda: [str(log.committed)],
            "applied": lambda: [str(log.applied)],
            "stable": lambda: [str(log.stable)],
            "first": lambda: [str(log.first_index)],
            "last": lambda: [str(log.last_index)],
            "log": lambda: [str(e.term) for e in log.slice(log.first_index, log.last_index)],
            "voters": lambda: sorted(configuration.voters),
            "outgoing": lambda: sorted(configuration.voters_outgoing),
            "learners": lambda: sorted(configuration.learners),
        }
        return facts[fact]()
