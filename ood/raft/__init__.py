"""Raft for Twisted: a replicated log that survives the loss of any minority.

>>> from ood.raft import Node

:mod:`ood.raft.core` is the algorithm without I/O; the modules beside it give
it a clock, a disk and a network.  :mod:`ood.raft.simulate` runs whole clusters
of cores from a seed and checks every step.  ``docs/raft.md`` is the guide.
"""

from ood.raft.core.types import Options
from ood.raft.driver import Policy
from ood.raft.errors import (
    OutcomeUnknownError,
    RaftError,
    RedirectError,
    StoppedError,
)
from ood.raft.node import Node
from ood.raft.options import Settings

__all__ = [
    "Node",
    "Options",
    "OutcomeUnknownError",
    "Policy",
    "RaftError",
    "RedirectError",
    "Settings",
    "StoppedError",
]
