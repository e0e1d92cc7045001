"""How help looks, and what a mistyped command gets."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

import click


def _paragraph(formatter: click.HelpFormatter, title: str, lines: Iterable[str]) -> None:
    """Write lines as they are: they are examples, not prose to be wrapped."""
    formatter.write_paragraph()
    formatter.write_heading(title)
    for line in lines:
        formatter.write(f"  {line}\n")


class OodCommand(click.Command):
    """A command with examples in its help.

    :ivar examples: command lines that are shown.
    :ivar notes: returns further sections by title; called only when help is shown.
    """

    examples: tuple[str, ...] = ()
    notes: Callable[[], dict[str, list[str]]] = dict

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the further sections and the examples."""
        super().format_epilog(ctx, formatter)
        for title, lines in self.notes().items():
            _paragraph(formatter, title, lines)
        if self.examples:
            _paragraph(formatter, "Examples", self.examples)


class OodGroup(click.Group):
    """All commands: listed in the order of their use, and guessed at when mistyped.

    :ivar examples: command lines that help shows.
    """

    command_class = OodCommand
    examples: tuple[str, ...] = ()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands as they were defined."""
        assert ctx is not None
        return list(self.commands)

    def place(self, name: str, before: str) -> None:
        """List the command ``name`` before another one."""
        moved = self.commands.pop(name)
        names = list(self.commands)
        later = names[names.index(before) :]
        self.commands[name] = moved
        for one in later:
            self.commands[one] = self.commands.pop(one)

    def find(self, ctx: click.Context, name: str) -> click.Command:
        """Return the command ``name``.

        :raises click.UsageError: there is none; it says which one may be meant.
        """
        command = self.get_command(ctx, name)
        if command is None:
            near = difflib.get_close_matches(name, self.commands, n=1)
            guess = f"; did you mean: {ctx.command_path} {near[0]}" if near else ""
            raise click.UsageError(f"there is no command {name!r}{guess}", ctx)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant, and the arguments that are left for it."""
        if not ctx.resilient_parsing and not args[0].startswith("-"):
            self.find(ctx, args[0])
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        _paragraph(formatter, "Examples", self.examples)
