"""What makes a shell complete ood's commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_OOD_COMPLETE"
"""The environment variable by which the shell asks ood for completions."""


def script(root: click.Command, shell: str) -> str:
    """Return the script for ``shell``."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    completion = kind(root, {}, "ood", VARIABLE)
    # Not completion.source(): it runs bash to check its version.
    return completion.source_template % completion.source_vars()
