"""What simulated nodes do, told as the actions of our TLA+ specification.

A step of the implementation may be several of the specification: the difference
between two looks at a node is told in the order term, vote, role, log, commit.
``docs/raft-spec/Raft.tla`` then decides whether each action was allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ood.raft.core.types import Role

if TYPE_CHECKING:
    from ood.raft.sim.disk import Write
    from ood.raft.sim.member import Member

NOBODY = "none"


@dataclass(frozen=True)
class Picture:
    """A node's memory, as the specification knows it."""

    term: int
    vote: str
    role: str
    log: tuple[int, ...]
    commit: int


FIRST = Picture(1, NOBODY, "follower", (1,), 1)
"""How every node begins; what comes before is no part of the specification."""


def picture(member: Member) -> Picture:
    """Look at a node; one that only asks for pre-votes is a follower still."""
    core = member.core
    log = core.log
    role = core.role.value if core.role in (Role.CANDIDATE, Role.LEADER) else "follower"
    terms = tuple(entry.term for entry in log.slice(log.first_index, log.last_index))
    return Picture(core.term, core.vote or NOBODY, role, terms, log.committed)


def _stopped(old: Picture, new: Picture) -> bool:
    """Whether a candidate or leader gave up within its term."""
    return old.role != "follower" and old.term == new.term


class Tracer:
    """Writes down actions: (action, node, argument)."""

    def __init__(self) -> None:
        self.actions: list[tuple[str, str, int | str]] = []
        self._seen: dict[str, Picture] = {}
        self._died: set[str] = set()

    def looked(self, member: Member) -> None:
        """Tell what a node did since the last look."""
        new = picture(member)
        old = self._seen.get(member.id, FIRST)
        if new != old:
            self._tell(member.id, old, new)
            self._seen[member.id] = new

    def _say(self, action: str, node: str, argument: int | str = 0) -> None:
        self.actions.append((action, node, argument))

    def _tell(self, node: str, old: Picture, new: Picture) -> None:
        stood = self._tell_term(node, old, new)
        if new.role == "leader" and old.role != "leader":
            self._say("Lead", node)
        elif new.role == "follower" and (stood or _stopped(old, new)):
            self._say("StepDown", node)
        if new.log != old.log:
            self._tell_log(node, old, new)
        if new.commit > old.commit:
            self._say("Advance" if new.role == "leader" else "Learn", node, new.commit)

    def _tell_term(self, node: str, old: Picture, new: Picture) -> bool:
        """Tell of a new term and vote; return whether the node stood for election."""
        stood = new.term > old.term and new.vote == node
        seen = new.term - 1 if stood else new.term
        if seen > old.term:
            self._say("UpdateTerm", node, seen)
        if stood:
            self._say("Timeout", node)
        elif new.vote != NOBODY and (new.term, new.vote) != (old.term, old.vote):
            self._say("Grant", node, new.vote)
        return stood

    def _tell_log(self, node: str, old: Picture, new: Picture) -> None:
        if new.role != "leader":
            self._say("Accept", node, len(new.log))
            return
        for _ in range(len(new.log) - len(old.log)):
            self._say("Request", node)

    def issued(self, member: Member, write: Write) -> None:
        """Tell that a save begins; what carries only messages changes no disk."""
        if write.token is not None:
            self.looked(member)
            self._say("Issue", member.id)

    def saved(self, member: Member, write: Write) -> None:
        """Tell that a save is durable."""
        if write.token is not None:
            self._say("Save", member.id)

    def crashed(self, member: Member) -> None:
        """Tell that a node died."""
        self._say("Crash", member.id)
        self._died.add(member.id)

    def restarted(self, member: Member) -> None:
        """Tell how a node came back, if it was there before."""
        if member.id not in self._died:
            return
        self._died.discard(member.id)
        core = member.core
        self._say("Restart", member.id, core.log.committed)
        disk = member.disk
        terms = tuple(entry.term for entry in disk.entries)
        hard = disk.hard_state
        if terms:
            vote = hard.vote or NOBODY
            self._seen[member.id] = Picture(hard.term, vote, "follower", terms, core.log.committed)
        else:
            self._seen[member.id] = FIRST


def module(actions: list[tuple[str, str, int | str]], nodes: list[str]) -> str:
    """Return a TLA+ module that allows exactly these actions, one after the other."""
    highest = 1 + sum(action == "Timeout" for action, _, _ in actions)
    lines = ",\n".join(
        f'  <<"{action}", "{node}", {_tla(argument)}>>' for action, node, argument in actions
    )
    names = ", ".join(f'"{node}"' for node in nodes)
    return _TEMPLATE.format(nodes=names, highest=highest, lines=lines)


def _tla(argument: int | str) -> str:
    return f'"{argument}"' if isinstance(argument, str) else str(argument)


CONFIGURATION = """\
CONSTANTS
  Node <- TraceNode
  None <- TraceNone
  MaxTerm <- TraceMaxTerm
INIT TraceInit
NEXT TraceNext
INVARIANTS OneLeader OneVote CommittedAgree LeaderComplete
"""
"""The configuration TLC reads beside the module; a deadlock is an action that is not allowed."""

_TEMPLATE = """\
------------------------------- MODULE Trace -------------------------------
EXTENDS Raft

VARIABLE done

TraceNode == {{{nodes}}}
TraceNone == "none"
TraceMaxTerm == {highest}

Actions == <<
{lines}
>>

TraceInit == Init /\\ done = 0

Do(action, i, x) ==
  CASE action = "UpdateTerm" -> UpdateTerm(i, x)
    [] action = "Timeout" -> Timeout(i)
    [] action = "Grant" -> Grant(i, x)
    [] action = "Lead" -> Lead(i)
    [] action = "StepDown" -> StepDown(i)
    [] action = "Request" -> Request(i)
    [] action = "Accept" -> Accept(i, x)
    [] action = "Advance" -> Advance(i, x)
    [] action = "Learn" -> Learn(i, x)
    [] action = "Issue" -> Issue(i)
    [] action = "Save" -> Save(i)
    [] action = "Crash" -> Crash(i)
    [] action = "Restart" -> Restart(i, x)

TraceNext ==
  \\/ /\\ done < Len(Actions)
     /\\ done' = done + 1
     /\\ Do(Actions[done'][1], Actions[done'][2], Actions[done'][3])
  \\/ done = Len(Actions) /\\ UNCHANGED <<vars, done>>
=============================================================================
"""
