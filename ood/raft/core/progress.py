"""What a leader knows about one follower, and how much it may send to it."""

from __future__ import annotations

import enum
from collections import deque

from ood.raft.core.types import Options, ProgressStatus, Snapshot


class Flow(enum.Enum):
    """How a follower is fed."""

    PROBE = "probe"  # where do the logs agree? one message at a time
    REPLICATE = "replicate"  # a pipeline of messages
    SNAPSHOT = "snapshot"  # chunks of a snapshot, no entries


class Progress:
    """One follower as its leader sees it.

    :ivar match: the last entry known to be on its disk.
    :ivar next: the next entry to send.
    :ivar round: the last round it confirmed.
    :ivar active: heard from since the last check of the quorum.
    :ivar told: the commit index it was told last.
    """

    def __init__(self, next_index: int) -> None:
        self.match = 0
        self.next = next_index
        self.flow = Flow.PROBE
        self.paused = False  # a probe or a chunk is under way
        self.round = 0
        self.active = False
        self.told = 0
        self.snapshot: Snapshot | None = None
        self.offset = 0
        self._in_flight: deque[tuple[int, int]] = deque()  # last index, bytes
        self._bytes = 0

    def room(self, options: Options) -> bool:
        """Whether one more message with entries may be sent now."""
        if self.flow is not Flow.REPLICATE:
            return not self.paused
        return (
            len(self._in_flight) < options.in_flight_messages
            and self._bytes < options.in_flight_bytes
        )

    @property
    def in_flight(self) -> int:
        """How many messages with entries are unanswered."""
        return len(self._in_flight)

    def sent(self, last_index: int, size: int) -> None:
        """Note a message with entries: a pipeline goes on behind it, a probe waits."""
        if self.flow is Flow.REPLICATE:
            self.next = last_index + 1
            self._in_flight.append((last_index, size))
            self._bytes += size
        else:
            self.paused = True

    def accepted(self, index: int) -> bool:
        """Note that the follower holds everything up to ``index``; tell if that is news."""
        while self._in_flight and self._in_flight[0][0] <= index:
            self._bytes -= self._in_flight.popleft()[1]
        self.next = max(self.next, index + 1)
        if self.flow is Flow.PROBE:
            self.replicate(max(index, self.match))
        if index <= self.match:
            return False
        self.match = index
        return True

    def rejected(self, index: int, hint: int) -> bool:
        """Go back to where the logs may agree; tell whether the answer was current."""
        if self.flow is Flow.REPLICATE:
            if index <= self.match:
                return False
            self.probe(self.match + 1)
            return True
        if self.flow is Flow.SNAPSHOT or index != self.next - 1:
            return False
        self.next = max(min(index, hint + 1), self.match + 1)
        self.paused = False
        return True

    def probe(self, next_index: int) -> None:
        """Ask first, one message at a time."""
        self._enter(Flow.PROBE)
        self.next = max(next_index, self.match + 1)

    def replicate(self, match: int) -> None:
        """Send a pipeline from the entry after ``match`` on."""
        self._enter(Flow.REPLICATE)
        self.next = match + 1

    def send_snapshot(self, snapshot: Snapshot) -> None:
        """Send a snapshot from its beginning."""
        self._enter(Flow.SNAPSHOT)
        self.snapshot, self.offset = snapshot, 0

    def _enter(self, flow: Flow) -> None:
        self.flow, self.paused, self.snapshot = flow, False, None
        self._in_flight.clear()
        self._bytes = 0

    def alive(self) -> None:
        """Note an answer to a heartbeat: whatever was under way may be lost."""
        self.paused = False
        if self._in_flight:
            self._bytes -= self._in_flight.popleft()[1]

    def status(self) -> ProgressStatus:
        """Return a picture for people."""
        return ProgressStatus(self.match, self.next, self.flow.value, self.active, self.in_flight)
