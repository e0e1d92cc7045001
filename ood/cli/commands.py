"""All commands of ``ood``, in the sections in which help lists them."""

from __future__ import annotations

from ood.cli import notify, reading, seeing, site
from ood.cli.app import ood
from ood.cli.cert import cert
from ood.cli.help import OodGroup
from ood.cli.lb import lb

SECTIONS = {
    "Apps": ("init", "start", "stop", "restart", "scale", "status", "config", "delete", "import"),
    "Releases": ("deploy", "rollback", "releases"),
    "What happens": ("log", "why", "monit", "doctor", "web"),
    "Visitors": ("maintenance", "password", "cert"),
    "The service": ("install", "notify", "lb"),
    "This command": ("completion", "help"),
}
"""Names of commands below the headings of ``ood help``."""

_MODULES = (notify, reading, seeing, site)
"""What defines further commands when it is loaded."""


def all_commands() -> OodGroup:
    """Return the command line with everything it has."""
    group = ood
    assert isinstance(group, OodGroup)
    for one in (cert, lb):
        group.add_command(one)
    group.sections = SECTIONS
    return group
