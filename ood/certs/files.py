"""Files that only ood's own user reads, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
from twisted.logger import Logger

from ood.atomic import replace_file

DIRECTORY_MODE = 0o700

_log = Logger(namespace="ood.certs")


def make_private(directory: Path) -> None:
    """Make a directory that nobody else looks into, nor into those above it that are made, too."""
    if not directory.parent.exists():
        make_private(directory.parent)
    directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    if directory.stat().st_mode & 0o077 and directory.stat().st_uid == os.geteuid():
        directory.chmod(DIRECTORY_MODE)


def write_private(path: Path, content: bytes) -> None:
    """Put ``content`` in the place of ``path`` in one step, and wait until it is on the disk."""
    make_private(path.parent)
    replace_file(path, content)


def read_record(path: Path, kind: Any, otherwise: Any) -> Any:
    """Return the value of ``kind`` that a file holds as JSON.

    What is damaged is put aside and counts as not there: nothing in these files can't
    be found out anew.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return otherwise
    except OSError as error:
        _log.error("{path} can't be read: {error}", path=str(path), error=error)
        return otherwise
    except msgspec.DecodeError as error:
        _log.warn("{path} is damaged and put aside: {error}", path=str(path), error=error)
        path.replace(path.with_name(f"{path.name}.damaged"))
        return otherwise


def write_record(path: Path, value: object) -> None:
    """Keep ``value`` as JSON."""
    write_private(path, msgspec.json.encode(value) + b"\n")
