"""What a planted bug is."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """One bug: in ``file`` of the core, ``old`` (which occurs once) becomes ``new``."""

    name: str
    file: str
    old: str
    new: str
