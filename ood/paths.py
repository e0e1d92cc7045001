"""Where everything is below ood's home; the service writes it, the command line looks there.

This module imports next to nothing: ``ood`` must answer at once.
"""

from __future__ import annotations

import os
from pathlib import Path

SYSTEM_HOME = Path("/var/lib/ood")
"""Home of the service that root runs."""

DOCUMENT_FILE = "config.json"
"""The document; the ones before it are in :data:`VERSIONS_DIRECTORY`."""
VERSIONS_DIRECTORY = "versions"
"""Earlier documents."""
TOKEN_FILE = "api-token"  # noqa: S105 - a file's name
"""The API's token."""
LOGS_DIRECTORY = "logs"
"""The apps' logs."""
APPS_DIRECTORY = "apps"
"""The apps' releases."""
BALANCER_FILE = "balancer.json"
"""Which of the kernel's L4 services are ood's."""
CERTS_DIRECTORY = "certs"
"""Certificates, their keys, and accounts at CAs."""
RUN_DIRECTORY = "run"
"""Sockets of the running service, and its lock."""
ADDRESS_FILE = "run/api.json"
"""``{"port", "pid"}`` of the running service, for the command line."""


def default_home() -> Path:
    """Return the home where none was named: OOD_HOME, or as fits the user."""
    named = os.environ.get("OOD_HOME")
    if named:
        return Path(named)
    return SYSTEM_HOME if os.geteuid() == 0 else Path.home() / ".ood"
