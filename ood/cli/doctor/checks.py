"""The table of checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ood.cli.doctor.apps import (
    check_apps,
    check_names,
    check_stickiness,
    check_upstreams,
)
from ood.cli.doctor.facts import Facts, Finding
from ood.cli.doctor.machine import (
    check_clock,
    check_disk,
    check_files,
    check_kernel,
    check_node,
    check_npm,
)
from ood.cli.doctor.service import (
    check_certificates,
    check_document,
    check_ports,
    check_privileges,
    check_rights,
    check_service,
    check_states,
    check_unit,
)

CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    check_service,
    check_unit,
    check_document,
    check_rights,
    check_privileges,
    check_ports,
    check_node,
    check_npm,
    check_apps,
    check_states,
    check_stickiness,
    check_upstreams,
    check_names,
    check_certificates,
    check_disk,
    check_files,
    check_clock,
    check_kernel,
)
"""Every check, from what matters most."""


def examine(facts: Facts) -> list[Finding]:
    """Return what all checks find."""
    return [finding for check in CHECKS for finding in check(facts)]
