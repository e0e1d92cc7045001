"""How many files and sockets the service may have open."""

from __future__ import annotations

import resource

from twisted.logger import Logger

FEW_DESCRIPTORS = 8192
"""Below this it is worth a remark: a relayed connection takes two, and bulk two more."""

_log = Logger(namespace="ood")


def raise_descriptor_limit() -> None:
    """Raise the limit as far as this user may: shells and systemd begin with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < FEW_DESCRIPTORS:
        _log.warn(
            "ood may open only {limit} files and sockets at once;"
            " for busy sites allow more (ulimit -Hn, or LimitNOFILE= of systemd)",
            limit=hard,
        )
