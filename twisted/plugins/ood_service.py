"""The plugin that makes ``twistd ood`` work.

There is deliberately no ``__init__.py`` beside this file: ``twisted.plugins``
is a namespace that every installed package extends, and an ``__init__.py``
here would hide the plugin.
"""

from twisted.application.service import ServiceMaker

oodService = ServiceMaker(  # type: ignore[no-untyped-call]
    "ood",
    "ood.service",
    "Run Node.js sites: process manager, reverse proxy and API in one service.",
    "ood",
)
