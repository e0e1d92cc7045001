"""How help looks, and what a mistyped command gets."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import click

SHORT_HELP_CHARACTERS = 100
"""Longest line beside a command; click would cut it where it does not fit one line."""


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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; whatever is wrong is said to be of this command."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # the parser of options doesn't know it
            raise

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
    :ivar sections: names of commands by the heading below which help lists them.
    """

    command_class = OodCommand
    examples: tuple[str, ...] = ()
    sections: Mapping[str, Sequence[str]] = MappingProxyType({})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands as help lists them, or as they were defined."""
        assert ctx is not None
        listed = [name for names in self.sections.values() for name in names]
        return listed or list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, below headings if there are sections."""
        width = max(map(len, self.list_commands(ctx)))
        for title, names in (self.sections or {"Commands": list(self.commands)}).items():
            with formatter.section(title):
                rows = [
                    (name, self.commands[name].get_short_help_str(SHORT_HELP_CHARACTERS))
                    for name in names
                ]
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in rows])

    def find(self, ctx: click.Context, name: str) -> click.Command:
        """Return the command ``name``.

        :raises click.UsageError: there is none; it says which one may be meant.
        """
        command = self.get_command(ctx, name)
        if command is None:
            near = difflib.get_close_matches(name, self.commands, n=1)
            guess = f"; did you mean: {ctx.command_path} {near[0]}" if near else ""
            if not near and ctx.parent is not None:
                guess = f"; there are: {', '.join(self.list_commands(ctx))}"
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
