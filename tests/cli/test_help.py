"""What help lists, and what a misused command says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import click

from ood.cli.commands import SECTIONS, all_commands
from tests.cli.support import CliCase

COMMON = {"--home", "--host", "--json"}
"""Options of every command."""


def every_command(group: click.Group | None = None) -> Iterator[click.Command]:
    """Yield all commands, with those of groups."""
    for one in (group or all_commands()).commands.values():
        yield one
        if isinstance(one, click.Group):
            yield from every_command(one)


class HelpTests(CliCase):
    def test_sections(self) -> None:
        """Each command stands below one heading of the help."""
        listed = Counter(name for names in SECTIONS.values() for name in names)
        self.assertEqual(listed, Counter(list(all_commands().commands)))
        lines = self.ood("help").out.splitlines()
        for title, names in SECTIONS.items():
            at = lines.index(f"{title}:")
            shown = [line.split()[0] for line in lines[at + 1 : at + 1 + len(names)]]
            self.assertEqual(shown, list(names))

    def test_nothing_is_cut(self) -> None:
        """Lists of commands say whole sentences."""
        for words in ((), ("cert",), ("lb",)):
            self.assertNotIn("...\n", self.ood("help", *words).out, words)

    def test_each_has_examples(self) -> None:
        """Help for each command shows how it is called."""
        for one in every_command():
            self.assertTrue(getattr(one, "examples", ()), one.name)
            self.assertIn(one.name, " ".join(one.examples))

    def test_of_a_command_of_a_group(self) -> None:
        """Help finds commands of groups, and says that others have none."""
        self.assertIn("Usage: ood cert add", self.ood("help", "cert", "add").out)
        result = self.ood("help", "start", "it")
        self.assertEqual(result.status, 2)
        self.assertIn("ood start has no commands of its own", result.err)

    def test_names_of_parameters(self) -> None:
        """No option of a command is taken for one that all commands have, such as --host."""
        for one in every_command():
            names = Counter(parameter.name for parameter in one.params)
            for parameter in one.params:
                if COMMON & {*parameter.opts}:
                    self.assertEqual(names[parameter.name], 1, f"{one.name} {parameter.name}")


class MisuseTests(CliCase):
    def test_one_line(self) -> None:
        """A mistyped command line gets one line that says where help is."""
        for words, text in (
            ("strat", "there is no command 'strat'; did you mean: ood start (see: ood help)"),
            ("start", "missing argument 'APP' (see: ood help start)"),
            ("config -s a", "option '-s' requires 2 arguments (see: ood help config)"),
            ("cert add x", "missing argument 'KEY' (see: ood help cert add)"),
            ("cert lost x y", "there is no command 'lost'; did you mean: ood cert list"),
            ("cert xyz", "there is no command 'xyz'; there are: list, show, add,"),
        ):
            result = self.ood(*words.split())
            self.assertEqual((result.status, result.out), (2, ""))
            self.assertTrue(result.err.startswith(f"ood: {text}"), result.err)
            self.assertEqual(result.err.count("\n"), 1)

    def test_json(self) -> None:
        """Programs get it as JSON, wherever --json stands."""
        for words in (("start", "--json"), ("--json", "start"), ("strat", "--json")):
            error = json.loads(self.ood(*words).err)["error"]
            self.assertEqual(error["code"], "usage")
            self.assertIn("see: ood help", error["hint"])
