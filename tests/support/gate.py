"""A TCP relay that stops an exchange in its middle, where a test wants it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from tests.support.ports import free_ports

PIECE_BYTES = 1 << 16


class Gate:
    """Passes on what clients and a server say, as many of the server's pieces as it is told.

    :param target: the server's port.
    :ivar port: where clients connect to.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        (self.port,) = free_ports(1)
        self._changed = threading.Condition()
        self._left: int | None = None
        self._held: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._run(self._accept)

    @property
    def held(self) -> bool:
        """Whether the server said something that is not let through."""
        with self._changed:
            return bool(self._held)

    def let(self, pieces: int | None) -> None:
        """End what is open; from now on let so many pieces of the server through, None for all."""
        with self._changed:
            self._left = pieces
            self._end(self._open)

    def stop(self) -> None:
        """End everything."""
        with self._changed:
            self._end({self._listener, *self._open})

    def _end(self, sockets: set[socket.socket]) -> None:
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # this ends a read in a thread; close does not
            one.close()
        self._open, self._held = set(), set()
        self._changed.notify_all()

    @staticmethod
    def _run(task, *arguments: socket.socket) -> None:
        threading.Thread(target=task, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._relay(client)

    def _relay(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        with self._changed:
            self._open |= {client, server}
        self._run(self._ask, client, server)
        self._run(self._answer, server, client)

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(PIECE_BYTES):
                server.sendall(piece)
        self._close(client, server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := server.recv(PIECE_BYTES):
                if not self._may_pass(client):
                    return
                client.sendall(piece)
        self._close(client, server)

    def _may_pass(self, client: socket.socket) -> bool:
        """Wait until a piece may pass; false if its connection is ended instead."""
        with self._changed:
            while self._left == 0 and client in self._open:
                self._held.add(client)
                self._changed.wait()
            self._held.discard(client)
            if client not in self._open:
                return False
            if self._left is not None:
                self._left -= 1
            return True

    def _close(self, *sockets: socket.socket) -> None:
        with self._changed:
            self._open -= set(sockets)
            for one in sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._changed.notify_all()
