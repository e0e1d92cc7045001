"""Whether the kernel killed somebody for memory: it counts, and tells nobody."""

from __future__ import annotations

import re
from pathlib import Path

VMSTAT = Path("/proc/vmstat")
OWN_CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_UNIFIED = re.compile(r"^0::(/.*)$", re.MULTILINE)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


class OomKills:
    """The kernel's count of such kills: in ood's control group, in which the workers are,
    or on the whole machine where that is not to be had.
    """

    def __init__(
        self, vmstat: Path = VMSTAT, own: Path = OWN_CGROUP, cgroups: Path = CGROUPS
    ) -> None:
        unified = _UNIFIED.search(_read(own))
        events = cgroups / unified[1].lstrip("/") / "memory.events" if unified else vmstat
        self._file = events if _COUNT.search(_read(events)) else vmstat
        self._seen = self._count()

    def _count(self) -> int:
        match = _COUNT.search(_read(self._file))
        return int(match[1]) if match else 0

    def look(self) -> None:
        """Take note of the count; called now and then."""
        self._seen = self._count()

    def rose(self) -> bool:
        """Tell whether somebody was killed since the last look."""
        return self._count() > self._seen
