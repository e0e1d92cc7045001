"""What a node tells those who watch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger

from ood.raft.core.types import Configuration, Role


@dataclass(frozen=True)
class RoleChanged:
    """This node follows, campaigns or leads now."""

    role: Role
    term: int


@dataclass(frozen=True)
class LeaderChanged:
    """This node knows of another leader, or of none."""

    leader: str | None
    term: int


@dataclass(frozen=True)
class Committed:
    """Everything up to ``index`` is applied here."""

    index: int


@dataclass(frozen=True)
class SnapshotSaved:
    """A snapshot is durable; ``received`` if the leader sent it."""

    index: int
    received: bool


@dataclass(frozen=True)
class MembershipChanged:
    """The members changed; the change is committed."""

    configuration: Configuration


@dataclass(frozen=True)
class Stopped:
    """The node stopped; ``reason`` is "" where that was asked for."""

    reason: str


Event = RoleChanged | LeaderChanged | Committed | SnapshotSaved | MembershipChanged | Stopped
Watcher = Callable[[Event], object]


class Events:
    """Those who watch, in the order they came."""

    log = Logger()

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher(event)`` from now on; return what ends that."""
        self._watchers.append(watcher)

        def unsubscribe() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Tell everybody; a watcher that raises does not harm the node."""
        for watcher in list(self._watchers):
            self._tell(watcher, event)

    def _tell(self, watcher: Watcher, event: Event) -> None:
        try:
            watcher(event)
        except Exception:
            self.log.failure("a watcher of {event} failed", event=type(event).__name__)
