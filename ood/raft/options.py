"""How a node is set up, apart from its place in the world."""

from __future__ import annotations

from dataclasses import dataclass, field

from ood.raft.core.types import Options
from ood.raft.driver import Policy

# How long a command or read waits for a leader and a majority by default.
COMMAND_SECONDS = 10.0

# A joining member may have to be sent the whole state first.
JOIN_SECONDS = 120.0


@dataclass(frozen=True)
class Settings:
    """Times and limits of one node; the defaults suit a local network.

    :ivar core: ticks and limits of the algorithm.
    :ivar policy: the length of a tick, when to take snapshots.
    :ivar command_seconds: how long a command or read may take.
    :ivar join_seconds: how long a change of members may take.
    :ivar command_bytes: the biggest command; it has to fit into a frame.
    """

    core: Options = field(default_factory=Options)
    policy: Policy = field(default_factory=Policy)
    command_seconds: float = COMMAND_SECONDS
    join_seconds: float = JOIN_SECONDS
    command_bytes: int = 8 * 1024 * 1024
