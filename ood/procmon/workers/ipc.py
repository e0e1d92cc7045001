"""Node's own channel to a process that ood started itself."""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from ood.net.fdchannel import FdChannel, close_all
from ood.procmon.core import cluster
from ood.procmon.core.lines import Lines


class IpcChannel:
    """The parent's end of the channel; it never trusts what it reads.

    :ivar theirs: the child's end, to be closed after the child has it.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        received: Callable[[cluster.Message], None],
        lost: Callable[[], None],
    ) -> None:
        ours, self.theirs = socket.socketpair()
        self._received_message = received
        self._lines = Lines(cluster.MESSAGE_BYTES_MAX)
        self.channel = FdChannel(reactor, clock, ours, self._received, lost)

    def start(self) -> None:
        """Begin to read; the child has its end."""
        self.theirs.close()
        self.channel.start()

    def send(self, data: bytes, fd: int = -1) -> bool:
        """Send a message, perhaps with a descriptor."""
        return self.channel.send(data, fd)

    def _received(self, data: bytes, descriptors: list[int]) -> None:
        close_all(descriptors)  # nobody asked for them
        for line in self._lines.feed_pieces(data):
            if not self.channel.open:
                return
            self._line(line)

    def _line(self, line: bytes) -> None:
        try:
            message = cluster.decode(line)
        except ValueError:
            return  # an app may send what it likes; ood looks for a few words only
        if isinstance(message, cluster.Handle):
            self.channel.send(cluster.HANDLE_ACK)
        elif message is not None:
            self._received_message(message)

    def close(self) -> None:
        """End the channel."""
        self.theirs.close()
        self.channel.close()
