"""What systemd is to a service: it hears messages, and keeps sockets for the next start."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path
from shutil import rmtree

from tests.support.ood import RunningOod

DESCRIPTORS_MAX = 4
PATIENCE_SECONDS = 60
START = """\
import os, sys
kept = [int(word) for word in sys.argv[1].split(",") if word]
for place, one in enumerate(kept):
    os.dup2(one, 100 + place)
for place in range(len(kept)):
    os.dup2(100 + place, 3 + place)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(kept)))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Puts the kept sockets where sd_listen_fds(3) says, and becomes the service."""


class Systemd:
    """The socket that messages go to, and the descriptors that were sent along.

    :ivar kept: the sockets, by the names that they were sent with.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="ood-systemd-", dir="/tmp"))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE_SECONDS)
        self.path = str(self._directory / "notify")
        self._socket.bind(self.path)
        self.kept: dict[str, int] = {}

    def hear(self) -> list[str]:
        """Return the next message's lines; keep what came along."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, DESCRIPTORS_MAX)
        lines = data.decode().split("\n")
        for line in lines:
            if line.startswith("FDNAME="):
                old = self.kept.pop(line[7:], None)
                if old is not None:
                    os.close(old)
                self.kept.update((line[7:], one) for one in descriptors)
        return lines

    def hear_until(self, word: str) -> list[str]:
        """Return all lines up to the message that is ``word``."""
        lines: list[str] = []
        while word not in lines:
            lines += self.hear()
        return lines

    def close(self) -> None:
        """Let everything go."""
        self._socket.close()
        for descriptor in self.kept.values():
            os.close(descriptor)
        rmtree(self._directory, ignore_errors=True)


class SupervisedOod(RunningOod):
    """A service that is started as systemd starts it."""

    def __init__(self, systemd: Systemd, node: str) -> None:
        super().__init__(node, {"NOTIFY_SOCKET": systemd.path})
        self._systemd = systemd

    def command(self) -> list[str]:
        """Return the command line, with the kept sockets put in their places first."""
        self.descriptors = list(self._systemd.kept.values())
        kept = ",".join(map(str, self.descriptors))
        return [sys.executable, "-c", START, kept, *super().command()]
