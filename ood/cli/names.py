"""Arguments that a shell completes: apps and keys."""

from __future__ import annotations

from contextlib import suppress

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

from ood.cli.session import Invocation, Session

COMPLETION_SECONDS = 1.0
"""How long completing a name may take: a person waits for the next key."""


def invocation_of(ctx: click.Context) -> Invocation:
    """Return the run of the command that a context belongs to."""
    invocation = ctx.find_object(Invocation)
    assert invocation is not None, "main passes it in"
    return invocation


class AppName(StringParamType):
    """An app's name, completed from what the service knows."""

    name = "app"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin with ``incomplete``; none if anything is wrong."""
        assert param is not None
        names: list[str] = []

        async def ask(session: Session) -> None:
            answer = await session.client.ask("GET", "/apps", timeout=COMPLETION_SECONDS)
            names.extend(app["name"] for app in answer["apps"])

        # A shell that completes has no place for errors, nor for the questions of ssh.
        if invocation_of(ctx).host is None:
            with suppress(Exception):
                invocation_of(ctx).run(ask)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


APP = AppName()


class KeyName(StringParamType):
    """A key of the settings, or of an app if one is named before it."""

    name = "key"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the keys that begin with ``incomplete``."""
        from ood.model.schema import APP_KEYS, SETTINGS_KEYS

        assert param is not None
        table = APP_KEYS if ctx.params.get("app") else SETTINGS_KEYS
        names = (key for key, one in table.items() if not one.internal)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


KEY = KeyName()


class KeyAndValue(click.Tuple):
    """A key and its value; completion knows keys."""

    def __init__(self) -> None:
        super().__init__((KEY, str))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what :class:`KeyName` does."""
        return KEY.shell_complete(ctx, param, incomplete)
