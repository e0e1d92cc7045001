"""Settings of a service that does not run: a port that is taken keeps it from starting."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import maybeDeferred

from ood.errors import OodError, StartupError
from ood.home import Home
from ood.model.document import Document
from ood.model.schema import changed_settings, check_settable, check_together
from ood.model.shown import settings_in_force
from ood.store.file import FileStore


def change_settings(path: Path, changes: Mapping[str, Any], fault: OodError) -> dict[str, Any]:
    """Change settings in the home itself, all or none; return them.

    :param fault: why the service was not asked; raised if it runs after all, or if the home is
        another user's, whose service could not read what we write.
    :raises OodError: a change is not right, or it can't be written.
    """
    home = Home(path)
    try:
        if path.stat().st_uid != os.geteuid():
            raise fault
        home.open()
    except (OSError, StartupError):
        raise fault from None
    try:
        return _changed(home.path, changes)
    finally:
        home.close()


def _changed(path: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    check_settable(changes)
    store = FileStore(path, maybeDeferred)
    failures: list[Any] = []

    def change(document: Document) -> Document:
        settings = changed_settings(document.settings, changes)
        document = msgspec.structs.replace(document, settings=settings)
        check_together(document)
        return document

    _ = store.update(change).addErrback(failures.append)
    for failure in failures:
        failure.raiseException()
    return settings_in_force(store.document.settings, root=os.geteuid() == 0)
