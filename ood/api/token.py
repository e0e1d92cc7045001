"""The token that proves a client may read the service's home directory."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

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
            _create(path)
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


def _create(path: Path) -> None:
    """Write a new token; whoever reads the file sees all of it or no file."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
