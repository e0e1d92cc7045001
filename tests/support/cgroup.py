"""A control group whose processes may use so much memory and no more."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from twisted.trial.unittest import SkipTest

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def _ways() -> tuple[tuple[Path, str, str], ...]:
    """Return where such groups are, in the old and the new hierarchy, and their limits' files.

    In the new one the group lies below that of the tests: kills in others are not counted there.
    """
    found = re.search(r"^0::/(.*)$", OWN.read_text(), re.MULTILINE) if OWN.exists() else None
    return (
        (ROOT / "memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        (ROOT / (found[1] if found else ""), "memory.max", "memory.swap.max"),
    )


class MemoryLimit:
    """A group for one test.

    :raises SkipTest: none can be made here.
    """

    def __init__(self, count: int) -> None:
        for parent, limit, swap in _ways():
            self._path = parent / f"ood-test-{os.getpid()}"
            if self._made(limit, swap, count):
                return
        raise SkipTest("no control group for memory can be made here")

    def _made(self, limit: str, swap: str, count: int) -> bool:
        try:
            self._path.mkdir()
        except OSError:
            return False
        try:
            (self._path / limit).write_text(str(count))
        except OSError:
            self.remove()
            return False
        with suppress(OSError):  # a kernel that does not count what is swapped out
            (self._path / swap).write_text("0" if swap == "memory.swap.max" else str(count))
        return True

    def add(self, pid: int) -> None:
        """Put a process into it.

        :raises SkipTest: this can't be done here.
        """
        try:
            (self._path / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise SkipTest(f"no process can be put into a control group here: {error}") from error

    def remove(self) -> None:
        """Remove it: nobody is in it any more."""
        with suppress(OSError):
            self._path.rmdir()
