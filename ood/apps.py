"""An app as the verbs need it: one that there is, and whose files are where they should be."""

from __future__ import annotations

import os

from ood.errors import ConflictError, Fault, InvalidError, NotFoundError
from ood.model.apptypes import NODE, PROXY, STATIC
from ood.model.document import App, Document

SCRIPT_INTERPRETERS = ("node",)
"""Interpreters whose ``script`` is a file, relative to ``cwd``."""


def app_of(document: Document, name: str) -> App:
    """Return the app ``name``.

    :raises NotFoundError: there is none.
    """
    app = document.apps.get(name)
    if app is None:
        known = ", ".join(sorted(document.apps)) or "none yet; add one with: ood init APP"
        raise NotFoundError(f"there is no app {name}", f"apps: {known}")
    return app


def check_unneeded(document: Document, name: str) -> None:
    """Check that the app may go: that no other one routes to it.

    :raises ConflictError: one does.
    """
    for other, app in document.apps.items():
        for path, route in app.routes.items():
            if route.app == name and other != name:
                reason = f"{other} routes {path} to {name}"
                hint = f"first: ood config -a {other} --unset routes.{path}"
                raise ConflictError(reason, hint)


def check_has_workers(name: str, app: App) -> None:
    """Check that ood itself runs the app.

    :raises ConflictError: somebody else does, or it is just files.
    """
    if app.type != NODE:
        reason = f"{name} is of type {app.type}: ood runs no workers for it"
        raise ConflictError(reason, "only apps of type node have workers")


def check_has_files(name: str, app: App) -> None:
    """Check that there is something of the app on this machine.

    :raises ConflictError: somebody else runs it.
    """
    if app.type == PROXY:
        reason = f"{name} is of type {app.type}: its servers are elsewhere"
        raise ConflictError(reason, "deploy it there")


def check_files(app: App) -> None:
    """Check that what the app is to run is there.

    :param app: with the directory that it is really run in.
    :raises InvalidError: with every fault.
    """
    if app.type == PROXY:
        return
    faults = []
    if not os.path.isdir(app.cwd):
        faults.append(Fault("cwd", f"{app.cwd} is not a directory", "an existing directory"))
    elif app.type == STATIC:
        pass
    elif app.script is None:
        faults.append(Fault("script", "is missing", "a file, relative to cwd, such as server.js"))
    elif app.interpreter in SCRIPT_INTERPRETERS:
        where = os.path.join(app.cwd, app.script)
        if not os.path.isfile(where):
            moved = "" if app.release is None else "; if it moved: ood deploy APP --script FILE"
            allowed = f"an existing file, relative to cwd{moved}"
            faults.append(Fault("script", f"there is no file {where}", allowed))
    if faults:
        raise InvalidError(faults)
