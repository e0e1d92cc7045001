"""Plugins: found by interface and name; whatever is wrong with one is an error with its name."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface

from ood.registry import PluginError, plugin, plugins


class IGreeting(Interface):
    """What the plugins of this test are for."""


GOOD = """
    from twisted.plugin import IPlugin
    from zope.interface import implementer
    from tests.test_registry import IGreeting

    @implementer(IPlugin, IGreeting)
    class Greeting:
        name = {name!r}

    greeting = Greeting()
    also = greeting
    something_else = object()
"""


class RegistryTests(SynchronousTestCase):
    def package(self, **modules: str) -> ModuleType:
        """Return a package with these modules."""
        directory = Path(self.mktemp()).absolute()
        name = f"plugins_of_{self._testMethodName}"
        (directory / name).mkdir(parents=True)
        (directory / name / "__init__.py").write_text("")
        for module, text in modules.items():
            (directory / name / f"{module}.py").write_text(textwrap.dedent(text))
        sys.path.insert(0, str(directory))
        self.addCleanup(sys.path.remove, str(directory))
        importlib.invalidate_caches()
        return importlib.import_module(name)

    def test_found(self) -> None:
        """By name, from all modules; the same object under two names is one plugin."""
        package = self.package(one=GOOD.format(name="hello"), two=GOOD.format(name="bye"))
        self.assertEqual(set(plugins(IGreeting, package)), {"hello", "bye"})
        self.assertEqual(plugin(IGreeting, "bye", package).name, "bye")

    def test_missing(self) -> None:
        """The error names those that are there."""
        package = self.package(one=GOOD.format(name="hello"))
        error = self.assertRaises(PluginError, plugin, IGreeting, "ciao", package)
        self.assertIn("ciao", error.message)
        self.assertIn("hello", error.hint)

    def test_doubled(self) -> None:
        """Two of one name are refused: nobody could tell which one runs."""
        package = self.package(one=GOOD.format(name="hello"), two=GOOD.format(name="hello"))
        error = self.assertRaises(PluginError, plugins, IGreeting, package)
        self.assertIn("two plugins hello", error.message)

    def test_broken(self) -> None:
        """A module that can't be imported is named with the reason."""
        package = self.package(one="import no_such_module_anywhere")
        error = self.assertRaises(PluginError, plugins, IGreeting, package)
        self.assertIn(f"{package.__name__}.one", error.message)
        self.assertIn("no_such_module_anywhere", error.message)
