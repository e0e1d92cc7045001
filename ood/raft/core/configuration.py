"""Changes of the membership: what may become what, and what is in force.

A configuration is in force from the moment its entry is in the log (as in the
thesis, not from when it is applied): a node that campaigns or counts votes then
always does so with every change it knows of.  Cutting the log takes it back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import msgspec

from ood.raft.core.errors import ChangeError, CorruptLogError
from ood.raft.core.types import Configuration, Entry, EntryKind

_decoder = msgspec.msgpack.Decoder(Configuration)


def encode(configuration: Configuration) -> bytes:
    """Return a configuration as the data of an entry."""
    return msgspec.msgpack.encode(configuration, order="deterministic")


def decode(data: bytes) -> Configuration:
    """Read the data of a configuration entry."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise CorruptLogError(f"a configuration entry is unreadable: {error}") from error


def target(
    current: Configuration,
    *,
    voters: Iterable[str] | None,
    learners: Iterable[str] | None,
    promote: Iterable[str],
    incarnations: dict[str, str] | None,
) -> Configuration:
    """Return the entry to propose: the wish itself, or the joint step towards it."""
    if current.joint:
        raise ChangeError("the last change is not finished", "retry when it is")
    wanted = current.voters if voters is None else frozenset(voters)
    taught = (current.learners if learners is None else frozenset(learners)) - wanted
    _check(wanted)
    joint = len(wanted ^ current.voters) > 1
    demoted = taught & current.voters if joint else frozenset()
    known = {**current.incarnations, **(incarnations or {})}
    members = wanted | taught | (current.voters if joint else frozenset())
    return Configuration(
        voters=wanted,
        voters_outgoing=current.voters if joint else frozenset(),
        learners=taught - demoted,
        learners_next=demoted,
        promote=frozenset(promote) & taught,
        incarnations={name: known[name] for name in sorted(members) if name in known},
    )


def _check(voters: frozenset[str]) -> None:
    if not voters:
        raise ChangeError("a cluster needs at least one voter", "name the voters that stay")
    if "" in voters:
        raise ChangeError("a member's id may not be empty")


def left(current: Configuration) -> Configuration:
    """Return what follows a joint configuration."""
    learners = current.learners | current.learners_next
    members = current.voters | learners
    return Configuration(
        voters=current.voters,
        learners=learners,
        promote=current.promote & learners,
        incarnations={k: v for k, v in current.incarnations.items() if k in members},
    )


class History:
    """The configurations in the log, each with the index of its entry."""

    def __init__(self, index: int, configuration: Configuration) -> None:
        self._indexes = [index]
        self._configurations = [configuration]

    @property
    def index(self) -> int:
        """The entry that put the current configuration in force."""
        return self._indexes[-1]

    @property
    def current(self) -> Configuration:
        """The configuration in force."""
        return self._configurations[-1]

    def at(self, index: int) -> Configuration:
        """Return the configuration in force at an entry."""
        return self._configurations[max(0, bisect_right(self._indexes, index) - 1)]

    def learn(self, entries: Iterable[Entry]) -> None:
        """Take the configurations among entries; those already known change nothing."""
        for entry in [entry for entry in entries if entry.kind]:  # commands are 0, and most
            if entry.kind is EntryKind.CONFIGURATION and entry.index > self.index:
                self._indexes.append(entry.index)
                self._configurations.append(decode(entry.data))

    def cut(self, index: int) -> None:
        """Forget the configurations from ``index`` on."""
        position = max(1, bisect_left(self._indexes, index))
        del self._indexes[position:], self._configurations[position:]

    def compact(self, index: int) -> None:
        """Forget the configurations that a snapshot at ``index`` covers, but the last."""
        position = bisect_right(self._indexes, index) - 1
        if position > 0:
            del self._indexes[:position], self._configurations[:position]
