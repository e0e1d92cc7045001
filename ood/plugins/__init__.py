"""Plugins of ood: every module here, and in a directory ``ood/plugins`` of any installed package.

A module holds objects that provide :class:`twisted.plugin.IPlugin` and the
interface that they are a plugin for; see :mod:`ood.registry`.
"""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))  # type: ignore[no-untyped-call]
__all__: list[str] = []
