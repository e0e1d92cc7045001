"""The two unix sockets of an app: where its processes join, and where they send strangers."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from ood.atomic import remedy
from ood.clock import Seldom
from ood.errors import WorkerError
from ood.net.accept import Acceptor
from ood.net.fdchannel import FdChannel, close_all
from ood.procmon.core import join
from ood.procmon.core.lines import Lines, TooLongError
from ood.procmon.system.accounts import Account

PATH_BYTES_MAX = 107
"""Longest path of a unix socket: the kernel's ``sun_path`` less its end."""
NAME_LENGTH_MAX = 48
"""Longest app's name that names its directory; a longer one is shortened and hashed."""
BACKLOG = 512
"""Connections that wait: all processes of an app may join at once."""
HELLO_SECONDS = 5.0
"""How long a process may be silent after it connected: the guard speaks at once."""
STRANGERS_AT_DOOR_MAX = 64
"""Processes that connected and have not said who they are."""
REFUSAL_SECONDS = 10.0
"""An app can make processes that may not join at any rate; its log tells of one this often."""
_CREDENTIALS = struct.Struct("iII")


def directory_name(app: str, uid: int) -> str:
    """Return the name of an app's directory of sockets, of bounded length."""
    name = app
    if len(name) > NAME_LENGTH_MAX:
        digest = hashlib.sha256(app.encode()).hexdigest()[:12]
        name = f"{app[: NAME_LENGTH_MAX - 13]}-{digest}"
    return f"{name}.{uid}"


def peer(sock: socket.socket) -> tuple[int, int]:
    """Return process id and user id of the process at the other end."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid


def listen(path: Path) -> socket.socket:
    """Return a socket that listens on ``path``."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        sock.bind(str(path))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _clear(path: Path) -> None:
    """Remove what an earlier ood left at ``path``.

    :raises WorkerError: it is a directory, which an app's user can put there.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        raise WorkerError(
            f"a directory is where the app's socket must be: {path}", f"remove it: rm -r {path}"
        ) from None


class Host(Protocol):
    """The app behind the door."""

    def admit(self, channel: FdChannel, hello: join.Hello, pid: int) -> str:
        """Take a process that joined; return why not, or nothing."""

    def stranger(self, sock: socket.socket, pid: int) -> bool:
        """Take a stream of requests for others; False if it is not from here."""

    def remark(self, text: str) -> None:
        """Tell the person who reads the app's log."""


class Door:
    """The sockets of one app for one user.

    :ivar join_path: where processes join.
    :ivar back_path: where they send requests for other hosts.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        *,
        directory: Path,
        account: Account,
        host: Host,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._directory = directory
        self._account = account
        self._host = host
        self._waiting: set[_AtDoor] = set()
        self._refusals = Seldom(clock, REFUSAL_SECONDS)
        self._listeners: list[Acceptor] = []
        self.join_path = directory / "join.sock"
        self.back_path = directory / "back.sock"

    def open(self) -> None:
        """Make the directory and the sockets.

        :raises WorkerError: it can't be done.
        """
        if len(os.fsencode(self.join_path)) > PATH_BYTES_MAX:
            raise WorkerError(
                f"the path {self.join_path} is too long for a socket",
                f"choose a home directory so that it has at most {PATH_BYTES_MAX} bytes",
            )
        try:
            self._make()
        except WorkerError:
            self.close()
            raise
        except OSError as error:
            self.close()
            reason = f"can't make the sockets in {self._directory}: {error.strerror}"
            hint = remedy(error, "make the home directory writable")
            raise WorkerError(reason, hint) from None

    def _make(self) -> None:
        """Bind in a directory that only ood may enter; then give it to the app's user.

        While ood works in it nobody else can put links there.
        """
        with suppress(FileExistsError):
            self._directory.mkdir(mode=0o700)
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if self._account.other:
                os.fchown(handle, os.getuid(), os.getgid())
            os.fchmod(handle, 0o700)
            for path, accepted in ((self.join_path, self._joining), (self.back_path, self._back)):
                _clear(path)
                sock = listen(path)
                self._listeners.append(Acceptor(self._reactor, self._clock, sock, accepted))
                path.chmod(0o600)
                if self._account.other:
                    os.chown(path, self._account.uid, self._account.gid)
        finally:
            if self._account.other:
                os.fchown(handle, self._account.uid, self._account.gid)
            os.close(handle)

    def close(self) -> None:
        """Close the sockets and remove them."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for one in list(self._waiting):
            one.close()
        for path in (self.join_path, self.back_path):
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self._directory.rmdir()

    def _joining(self, sock: socket.socket) -> None:
        pid, uid = peer(sock)
        if uid != self._account.uid or len(self._waiting) >= STRANGERS_AT_DOOR_MAX:
            sock.close()
            return
        channel = FdChannel(self._reactor, self._clock, sock, lambda _data, _fds: None, _nothing)
        one = _AtDoor(
            self._clock, channel, pid, self._host, self._waiting.discard, refusals=self._refusals
        )
        self._waiting.add(one)
        channel.start()

    def _back(self, sock: socket.socket) -> None:
        pid, uid = peer(sock)
        sock.setblocking(False)
        if uid != self._account.uid or not self._host.stranger(sock, pid):
            sock.close()


def _nothing() -> None:
    """Do nothing."""


class _AtDoor:
    """A process that connected and has yet to say who it is."""

    def __init__(
        self,
        clock: IReactorTime,
        channel: FdChannel,
        pid: int,
        host: Host,
        over: Callable[[_AtDoor], None],
        *,
        refusals: Seldom,
    ) -> None:
        self._channel = channel
        self._pid = pid
        self._host = host
        self._over = over
        self._refusals = refusals
        self._lines = Lines(join.MESSAGE_BYTES_MAX)
        self._timer = clock.callLater(HELLO_SECONDS, self.close)
        channel.received = self._received
        channel.lost = self._ended

    def _received(self, data: bytes, descriptors: list[int]) -> None:
        close_all(descriptors)
        head, newline, rest = data.partition(b"\n")
        try:
            lines = self._lines.feed(head + newline)
            if not lines:
                return
            message = join.decode(lines[0])
        except (join.InvalidMessageError, TooLongError):
            self.close()
            return
        self._ended()
        self._greet(message, rest)

    def _greet(self, message: join.Message | None, rest: bytes) -> None:
        if not isinstance(message, join.Hello):
            self._channel.close()
            return
        refusal = self._host.admit(self._channel, message, self._pid)
        if refusal:
            self._channel.close()
            missed = self._refusals.missed
            if self._refusals.allows():
                others = f" (and {missed} before it)" if missed else ""
                self._host.remark(f"process {self._pid} may not join: {refusal}{others}")
        elif rest:
            self._channel.received(rest, [])

    def _ended(self) -> None:
        if self._timer.active():
            self._timer.cancel()
        self._over(self)

    def close(self) -> None:
        """Send it away."""
        self._ended()
        self._channel.close()
