"""``twistd ood``: its options, and the service that it runs.

Everything that can be wrong with a start (home, document, ports) is found in
:func:`makeService`, before twistd becomes a daemon and before anything was
changed; it ends with one line on stderr and exit status 1.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.python import usage

from ood.composition import Composition, OodService
from ood.descriptors import raise_descriptor_limit
from ood.errors import OodError
from ood.home import Home
from ood.net.supervisor import Supervisor
from ood.paths import default_home


def port_option(text: str) -> int:
    """Return the port that an option names.

    :raises ValueError: it is none.
    """
    if not text.isdigit() or int(text) > 65535:
        raise ValueError("a port is a number from 0 to 65535 (0: off)")
    return int(text)


class Options(usage.Options):
    """The options of ``twistd ood``."""

    synopsis = "[options]"
    longdesc = "Runs Node.js sites. The ood command steers it: see ood help."
    optParameters = [
        ["home", None, None, "Where ood keeps its state (OOD_HOME; /var/lib/ood or ~/.ood)."],
        ["http-port", None, None, "Port for HTTP instead of the setting httpPort.", port_option],
        ["https-port", None, None, "Port for HTTPS instead of httpsPort.", port_option],
        ["api-port", None, None, "Loopback port of the API instead of apiPort.", port_option],
    ]


def makeService(options: Options) -> OodService:
    """Return ood as a service for twistd.

    :raises SystemExit: it can't start here; the message is one line for stderr.
    """
    from twisted.internet import reactor  # noqa: PLC0415 - the one place that chooses it

    home = Home(Path(options["home"]) if options["home"] else default_home())
    open_files = raise_descriptor_limit()
    try:
        home.open()
        return Composition(
            reactor, home, _overrides(options), open_files, Supervisor(os.environ, os.getpid())
        ).service()
    except OodError as error:
        home.close()
        raise SystemExit(f"ood: {error}") from None


def _overrides(options: Options) -> dict[str, int]:
    """Return the settings that options take the place of, by their key."""
    names = {"httpPort": "http-port", "httpsPort": "https-port", "apiPort": "api-port"}
    chosen = {key: options[name] for key, name in names.items()}
    return {key: port for key, port in chosen.items() if port is not None}
