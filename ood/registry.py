"""Finding plugins: the one place that does.

Plugins are modules of the package :mod:`ood.plugins`, as :mod:`twisted.plugin` lays
them out, so whatever is installed with a directory ``ood/plugins`` takes part.
Twisted's own ``getPlugins`` logs a module that can't be imported and goes on; here
that is an error with the module's name, since what a user asked for must not be
missing in silence.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

from twisted.plugin import IPlugin
from zope.interface.interface import InterfaceClass

import ood.plugins
from ood.errors import StartupError


class PluginError(StartupError):
    """A plugin is broken, missing or there twice."""

    code = "plugin"


def plugins(interface: InterfaceClass, package: ModuleType = ood.plugins) -> dict[str, Any]:
    """Return the plugins that provide ``interface`` by their attribute ``name``.

    :raises PluginError: a module can't be imported, or two plugins have one name.
    """
    found: dict[str, Any] = {}
    for module in _modules(package):
        for plugin in filter(_provider_of(IPlugin, interface), vars(module).values()):
            if found.setdefault(plugin.name, plugin) is not plugin:
                raise PluginError(
                    f"there are two plugins {plugin.name} for {interface.__name__}, "
                    f"one of them in {module.__name__}",
                    "uninstall one of them",
                )
    return found


def plugin(interface: InterfaceClass, name: str, package: ModuleType = ood.plugins) -> Any:
    """Return the plugin ``name`` that provides ``interface``.

    :raises PluginError: there is none, or the plugins can't be read.
    """
    found = plugins(interface, package)
    if name not in found:
        there = ", ".join(sorted(found)) or "none"
        raise PluginError(f"there is no plugin {name} for {interface.__name__}", f"there: {there}")
    return found[name]


def _provider_of(*interfaces: Any) -> Callable[[object], bool]:
    """Return what tells whether an object provides all of ``interfaces``."""
    return lambda one: all(interface.providedBy(one) for interface in interfaces)


def _modules(package: ModuleType) -> list[ModuleType]:
    names = [info.name for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    modules = []
    for name in sorted(names):
        try:
            modules.append(importlib.import_module(name))
        except Exception as error:
            raise PluginError(
                f"the plugin module {name} can't be imported: {type(error).__name__}: {error}",
                "repair or uninstall it",
            ) from error
    return modules
