"""The token that proves a client may read the service's home directory."""

from __future__ import annotations

import secrets
from pathlib import Path

from ood.atomic import replace_file
from ood.errors import StartupError
from ood.paths import TOKEN_FILE

TOKEN_BYTES = 32
"""Random bytes of a token: beyond guessing."""
TOKEN_LENGTH_MIN = 16
"""Shortest token in characters that is taken from the file; less invites guessing."""


def load_or_create_token(home: Path) -> str:
    """Return the token in ``home``; write a new one first if there is none.

    :raises StartupError: the file can't be read or written, or holds no token.
    """
    path = home / TOKEN_FILE
    try:
        if not path.exists():
            replace_file(path, f"{secrets.token_urlsafe(TOKEN_BYTES)}\n".encode())
        # A file that was copied or restored may have lost its mode.
        path.chmod(0o600)
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"can't use the API's token {path}: {error}") from error
    if len(token) < TOKEN_LENGTH_MIN or not (token.isascii() and token.isprintable()):
        raise StartupError(
            f"{path} holds no token", "remove the file; a new token is made at the next start"
        )
    return token
