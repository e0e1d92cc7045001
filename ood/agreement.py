"""What has to be agreed on before a new connection can be used: the contract of TLS handshakes."""

from __future__ import annotations

import socket
from typing import Protocol


class Steps(Protocol):
    """Something that does its work step by step."""

    def step(self) -> None:
        """Do one."""

    def give_up(self) -> None:
        """End, and tell whoever waits for it: a step failed."""


class Agreement(Protocol):
    """What both ends of a new connection do before anything is said on it: a TLS handshake.

    :ivar begun: it was queued before.
    """

    begun: bool

    def queue(self, stream: Steps) -> None:
        """Have ``stream`` call :meth:`step` when it is its turn."""

    def step(self, sock: socket.socket) -> socket.socket:
        """Do what can be done now on ``sock``; return what is read and written from then on.

        :raises BlockingIOError: it has to be called again when something has come; when it
            is :class:`ood.net.stream.WriteFirstError`, when there is room to write.
        :raises OSError: it failed; the text says why.
        """
        ...

    def keep(self) -> None:
        """Remember what makes the next one cheaper: an answer has come on the connection."""
