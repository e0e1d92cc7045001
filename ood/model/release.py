"""Releases as values: what is asked for, what is told meanwhile, and what there is."""

from __future__ import annotations

import msgspec

from ood.model.document import App

STARTING = "starting it beside the old one"
SWITCHING = "switching"
REMOVING = "removing old releases"
CARRIED_OUT = frozenset({STARTING, SWITCHING, REMOVING})
"""Steps of a deployment from which on it is carried out, whoever still listens."""


class Order(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a new release is made of.

    :ivar source: an absolute path of a directory or an archive, or a git URL; the
        app's own ``cwd`` if absent.
    :ivar ref: branch, tag or commit of a git repository.
    :ivar build: whether the package's ``build`` script is run.
    :ivar script: what is run from then on, as the app's setting ``script``; as before if absent.
    """

    source: str | None = None
    ref: str | None = None
    build: bool = False
    script: str | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a deployment does just now.

    :ivar step: what is being done, in words.
    :ivar elapsed_ms: milliseconds since the deployment began.
    :ivar line: what a command just wrote; empty if a step begins.
    """

    step: str
    elapsed_ms: int
    line: str = ""


class Release(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One release of an app.

    :ivar name: its name, which is also its directory's.
    :ivar time: when it was made: RFC 3339 in UTC.
    :ivar source: what it was made of.
    :ivar script: what it was made to run; absent if it was made before that was written down.
    :ivar current: whether the app runs it.
    """

    name: str
    time: str
    source: str
    script: str | None = None
    current: bool = False


def release_directory(apps: str, name: str, release: str) -> str:
    """Return where a release of the app ``name`` is.

    :param apps: the directory that holds all apps' files.
    """
    return f"{apps}/{name}/releases/{release}"


def placed(apps: str, name: str, app: App) -> App:
    """Return ``app`` with the directory that it is really run in as its ``cwd``."""
    if app.release is None:
        return app
    return msgspec.structs.replace(app, cwd=release_directory(apps, name, app.release))
