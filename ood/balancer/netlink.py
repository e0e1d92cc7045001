"""The socket to the kernel: sends requests, returns what the kernel answers.

The kernel works a netlink request off within the ``send`` that brings it, so
answers are waiting when ``send`` returns, and nothing here waits for a reactor.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from struct import Struct
from typing import Protocol

from ood.balancer.core.netlink import (
    ACK,
    CAP_ACK,
    DONE,
    DUMP_INTERRUPTED,
    ERROR,
    Message,
    family_answer,
    family_request,
    messages,
    request,
)
from ood.errors import UnavailableError

NETLINK_GENERIC = 16
SOL_NETLINK = 270

RECEIVE_BYTES = 65536
"""The kernel never puts more into one datagram of a dump (32 KiB today)."""

BATCH_REQUESTS = 100
"""Requests in a datagram: their acknowledgements fit into the smallest default
receive buffer, and beyond this a larger batch is hardly faster."""

ANSWER_SECONDS = 5
"""The kernel answers at once unless it is out of order; then the reactor must not hang."""

DUMP_ATTEMPTS = 5
"""How often a dump is repeated when the table changes while it is being read."""

_TIMEVAL = Struct("@ll")


class IpvsUnavailableError(UnavailableError):
    """The kernel has no IPVS for us."""

    code = "ipvs_unavailable"
    http_status = 503


class Transport(Protocol):
    """What carries datagrams to the kernel, or to something that acts like it."""

    def send(self, data: bytes) -> object:
        """Send one datagram."""

    def recv(self, size: int) -> bytes:
        """Return the next datagram."""

    def close(self) -> None:
        """Let go of it."""


def open_transport() -> Transport:
    """Return a socket to the kernel's generic netlink."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
    except OSError as error:
        raise IpvsUnavailableError(f"netlink can't be used: {error.strerror}") from error
    sock.bind((0, 0))
    sock.setsockopt(SOL_NETLINK, CAP_ACK, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(ANSWER_SECONDS, 0))
    return sock


class Channel:
    """Requests and answers of one generic netlink family.

    :ivar family: the family's number in this kernel.
    """

    def __init__(self, transport: Transport, family: str) -> None:
        self._transport = transport
        self._sequence = 0
        self.family = self._find(family)

    def _find(self, family: str) -> int:
        self._sequence += 1
        self._transport.send(family_request(family, self._sequence))
        for message in self._answers(self._sequence):
            if message.error is not None:
                raise IpvsUnavailableError(
                    f"this kernel has no {family}: {os.strerror(message.error)}",
                    "load the module ip_vs, or set balancerEngine to userspace",
                )
            return family_answer(message)
        raise AssertionError("unreachable: _answers yields or raises")  # pragma: no cover

    def change(self, commands: Sequence[tuple[int, bytes]]) -> list[int]:
        """Send changes, many in a datagram; return each one's errno (0 is done)."""
        outcomes: list[int] = []
        for begin in range(0, len(commands), BATCH_REQUESTS):
            outcomes += self._batch(commands[begin : begin + BATCH_REQUESTS])
        return outcomes

    def _batch(self, commands: Sequence[tuple[int, bytes]]) -> list[int]:
        first = self._sequence + 1
        self._sequence += len(commands)
        self._transport.send(
            b"".join(
                request(self.family, command, ACK, first + index, payload)
                for index, (command, payload) in enumerate(commands)
            )
        )
        outcomes: dict[int, int] = {}
        while len(outcomes) < len(commands):
            for message in self._receive():
                if message.type == ERROR and message.sequence >= first:
                    outcomes[message.sequence] = message.error or 0
        return [outcomes[first + index] for index in range(len(commands))]

    def ask(self, command: int, flags: int = 0, payload: bytes = b"") -> list[Message]:
        """Return the answers to one question.

        A dump that the kernel could not read in one piece is repeated.
        """
        answers: list[Message] = []
        for _ in range(DUMP_ATTEMPTS):
            self._sequence += 1
            self._transport.send(request(self.family, command, flags, self._sequence, payload))
            answers = self._collect(self._sequence, many=bool(flags))
            if not any(answer.flags & DUMP_INTERRUPTED for answer in answers):
                break
        return answers

    def _collect(self, sequence: int, *, many: bool) -> list[Message]:
        answers: list[Message] = []
        while True:
            for message in self._answers(sequence):
                if message.type == DONE:
                    return answers
                if message.error:
                    raise OSError(message.error, os.strerror(message.error))
                answers.append(message)
                if not many:
                    return answers

    def _answers(self, sequence: int) -> list[Message]:
        """Return the messages of the next datagram that answers ``sequence``."""
        while True:
            found = [message for message in self._receive() if message.sequence == sequence]
            if found:
                return found

    def _receive(self) -> list[Message]:
        try:
            return list(messages(self._transport.recv(RECEIVE_BYTES)))
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.ENOBUFS}:
                raise IpvsUnavailableError(
                    f"the kernel did not answer within {ANSWER_SECONDS} s: {error.strerror}"
                ) from error
            raise

    def close(self) -> None:
        """Let go of the socket."""
        self._transport.close()
