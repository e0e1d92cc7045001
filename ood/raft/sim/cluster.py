"""Members that are watched; how their messages travel is left to the subclass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from ood.raft.core.types import Configuration, Message, Options, Role
from ood.raft.sim.member import Member
from ood.raft.sim.monitors import Monitors


class Cluster(ABC):
    """Simulated nodes under the monitors' eyes.

    :ivar name: the cluster's id, which every handshake carries.
    :ivar wiped: nodes that lost their disk and are not replaced yet.
    :ivar incarnations: whether the handshake names the life of the disk, too.
    """

    def __init__(self, options: Options, jitter: Callable[[int], int]) -> None:
        self.name = "simulated"
        self.incarnations = True
        self.wiped: set[str] = set()
        self.options, self.jitter = options, jitter
        self.monitors = Monitors()
        self.members: dict[str, Member] = {}

    def add(self, name: str, voters: Iterable[str] = (), learners: Iterable[str] = ()) -> Member:
        """Add a node that was not started yet; without voters it waits to be added."""
        first = frozenset(voters)
        bootstrap = Configuration(voters=first, learners=frozenset(learners)) if first else None
        member = Member(self, name, bootstrap=bootstrap, options=self.options, jitter=self.jitter)
        self.members[name] = member
        return member

    @abstractmethod
    def post(self, source: Member, message: Message) -> None:
        """Carry a message, or lose it."""

    def looked(self, member: Member) -> None:
        """Take a look at a node that has just done something."""
        self.monitors.looked(member)

    def leader(self) -> Member | None:
        """Return the leader of the highest term."""
        leaders = [m for m in self.members.values() if m.raw and m.core.role is Role.LEADER]
        return max(leaders, key=lambda m: m.core.term, default=None)
