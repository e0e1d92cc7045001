"""Bugs to be planted in the core, one at a time: the suite must notice every one.

``scripts/raft-mutations`` plants them.  A number is that of the bug in the design's
list of what went wrong elsewhere.
"""

from __future__ import annotations

from tests.raft.mutations.elections import ELECTIONS
from tests.raft.mutations.logs import LOGS
from tests.raft.mutations.model import Mutation
from tests.raft.mutations.promises import PROMISES
from tests.raft.mutations.service import SERVICE

__all__ = ["MUTATIONS", "Mutation"]

MUTATIONS: tuple[Mutation, ...] = (*ELECTIONS, *LOGS, *SERVICE, *PROMISES)
