"""How many files and sockets the service may have open."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress

from twisted.logger import Logger

DESCRIPTORS_MAX = 1 << 20
"""What is asked for where the limit is "unlimited": the kernel's own default maximum."""
FEW_DESCRIPTORS = 8192
"""Below this it is worth a remark: a relayed connection takes two, and bulk two more."""

_log = Logger(namespace="ood")


def raise_descriptor_limit() -> int:
    """Raise the limit as far as this user may, and return it: shells begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # a container may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < FEW_DESCRIPTORS:
        _log.warn(
            "ood may open only {limit} files and sockets at once;"
            " for busy sites allow more (ulimit -Hn, or LimitNOFILE= of systemd)",
            limit=wanted,
        )
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if allowed == resource.RLIM_INFINITY else allowed
