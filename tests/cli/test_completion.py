"""Shells complete commands, options and names."""

from __future__ import annotations

import contextlib
import io
import os

from ood.cli.access import NoAccessError
from ood.cli.main import run
from ood.cli.output import Output
from ood.cli.session import Invocation
from tests.cli.support import CliCase, Result


class CompletionTests(CliCase):
    def complete(self, words: str, position: int, runner: object = None) -> list[str]:
        """Return what bash is offered for the word at ``position``."""
        environ = {
            "_OOD_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(position),
        }
        out = io.TextIOWrapper(io.BytesIO())
        invocation = Invocation(Output(out, out), None, runner or self._runner)
        for name, value in environ.items():
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name, None)
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            run((), invocation)
        out.seek(0)
        return [line.partition(",")[2] for line in out.read().splitlines() if line]

    def test_commands(self) -> None:
        """Commands are completed."""
        self.assertEqual(self.complete("ood sta", 1), ["start", "status"])

    def test_names(self) -> None:
        """Apps are completed, for arguments and for --app."""
        self.assertEqual(self.complete("ood start sh", 2), ["shop.example"])
        self.assertEqual(self.complete("ood config -a sh", 3), ["shop.example"])
        self.assertEqual(self.complete("ood start x", 2), [])

    def test_keys(self) -> None:
        """Keys are completed: of the settings, or of the app that is named."""
        self.assertEqual(self.complete("ood config -g http", 3), ["httpPort", "httpsPort"])
        self.assertEqual(self.complete("ood config -s apiP", 3), ["apiPort"])
        self.assertEqual(self.complete("ood config -a shop.example -s heal", 5)[0], "healthPath")
        self.assertEqual(self.complete("ood config -a shop.example --unset cw", 5), ["cwd"])

    def test_silent(self) -> None:
        """A service that does not run completes nothing, and says nothing."""

        def refuse(*_: object) -> None:
            raise NoAccessError("no")

        self.assertEqual(self.complete("ood start sh", 2, refuse), [])

    def test_scripts(self) -> None:
        """There is a script for each shell."""
        for shell in ("bash", "zsh", "fish"):
            result: Result = self.ood("completion", shell)
            self.assertEqual(result.status, 0)
            self.assertIn(f"_OOD_COMPLETE={shell}_complete", result.out)
        self.assertEqual(self.ood("completion", "tcsh").status, 2)
