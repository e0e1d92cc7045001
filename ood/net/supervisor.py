"""systemd's side of a service: it is told when ood is ready, and keeps the listening sockets.

What it keeps outlives the process: a visitor who comes while ood starts anew waits a moment
in the socket's queue, where without it the connection would be refused.  Without systemd
nothing happens.  Protocols: sd_notify(3) and sd_listen_fds(3), which are stable interfaces;
its libraries either need a compiler or can't send descriptors.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from struct import Struct

from twisted.logger import Logger

FIRST_DESCRIPTOR = 3
"""Where the descriptors that systemd passes begin (SD_LISTEN_FDS_START)."""

_pack = Struct("i").pack


def name_of(sock: socket.socket) -> str:
    """Return the name under which systemd keeps ``sock``: letters, digits and hyphens."""
    family = "ipv6" if sock.family == socket.AF_INET6 else "ipv4"
    return f"ood-{family}-{sock.getsockname()[1]}"


class Supervisor:
    """Whoever started the service, and may keep sockets for it.

    :param environ: the process's environment; what is only for this process is taken out.
    :param pid: this process; variables for another one are not ours.
    """

    log = Logger()

    def __init__(self, environ: MutableMapping[str, str], pid: int) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        numbers = [environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS")]
        environ.pop("LISTEN_FDNAMES", None)
        ours = numbers[0] == str(pid) and numbers[1].isdigit()
        self._kept = _listening(int(numbers[1])) if ours else {}

    def take(self, address: str, port: int) -> socket.socket | None:
        """Return the socket that was kept for ``address`` and ``port``, if there is one."""
        return self._kept.pop((address, port), None) if port else None

    def keep(self, sock: socket.socket) -> None:
        """Let systemd keep ``sock``; that it has it already does no harm."""
        self._tell(f"FDSTORE=1\nFDNAME={name_of(sock)}", sock.fileno())

    def release_rest(self) -> None:
        """Give up what was kept, and nobody took: the ports are others now."""
        for sock in self._kept.values():
            self._tell(f"FDSTOREREMOVE=1\nFDNAME={name_of(sock)}")
            sock.close()
        self._kept.clear()

    def ready(self) -> None:
        """Tell that requests are taken."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """Tell that the service is about to end."""
        self._tell("STOPPING=1")

    def _tell(self, message: str, *descriptors: int) -> None:
        if not self._address:
            return
        rights = b"".join(map(_pack, descriptors))
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.sendmsg([message.encode()], ancillary, 0, self._address)
        except OSError as error:
            self.log.warn("systemd was not told {message}: {error}", message=message, error=error)


def _listening(count: int) -> dict[tuple[str, int], socket.socket]:
    """Return the listening TCP sockets among the passed descriptors, by address and port."""
    found = {}
    for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count):
        try:
            os.set_inheritable(descriptor, False)
            sock = socket.socket(fileno=descriptor)
        except OSError:
            continue  # it is closed, or no socket
        if sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6):
            address, port, *_ = sock.getsockname()
            found[address, port] = sock
        else:
            sock.close()
    return found
