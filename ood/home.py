"""ood's home: the directory in which it keeps everything it knows.

========================  ======  ==================================================
``config.json``           0600    the document; ``versions/`` holds the ones before
``api-token``             0600    whoever can read it may steer ood
``balancer.json``         0600    which of the kernel's L4 services are ood's
``logs/``                 0700    the apps' logs
``certs/``                0700    certificates, their keys, and accounts at CAs
``apps/``                 0711    each app's releases, which belong to its user
``run/``                  0711    sockets of the running service, its lock; ``deaths/`` (0700)
                                  holds what is known of workers that died
========================  ======  ==================================================

As root the home itself is 0711: an app's user passes through it to the sockets
below ``run/``, and can list nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import msgspec
from twisted.logger import Logger

from ood.atomic import remedy, replace_file
from ood.errors import StartupError
from ood.paths import (
    ADDRESS_FILE,
    APPS_DIRECTORY,
    CERTS_DIRECTORY,
    LOGS_DIRECTORY,
    RUN_DIRECTORY,
)


class Home:
    """The directories and files of one home, and the lock that keeps it to one service."""

    log = Logger()

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.logs = self.path / LOGS_DIRECTORY
        self.run = self.path / RUN_DIRECTORY
        self._certs = self.path / CERTS_DIRECTORY
        self._address = self.path / ADDRESS_FILE
        self.apps = self.path / APPS_DIRECTORY
        self._lock: int | None = None

    def open(self) -> None:
        """Make what is missing, and take the lock.

        :raises StartupError: the home can't be used, or another service uses it.
        """
        mode = 0o711 if os.geteuid() == 0 else 0o700
        self._make(self.path, mode)
        self._make(self.logs, 0o700)
        self._make(self.run, mode)
        if self._certs.exists():
            self._make(self._certs, 0o700)
        self._take_lock()

    def _make(self, directory: Path, mode: int) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=mode)
            if directory.stat().st_uid == os.geteuid():
                directory.chmod(mode)
            if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            reason = f"can't use {directory}: {error.strerror}"
            raise StartupError(reason, self._way_out(directory, error)) from None

    def _way_out(self, directory: Path, error: OSError) -> str:
        """Return what helps where ``directory`` can't be used."""
        try:
            owner, home_owner = directory.stat().st_uid, self.path.stat().st_uid
        except OSError:
            owner = home_owner = os.geteuid()
        if owner != home_owner == os.geteuid():  # as after a start by root, or a restored copy
            return (
                f"others own what is in it; as root: chown -R --reference={self.path} {self.path}"
            )
        return remedy(error, "name a directory that you may write to with --home or OOD_HOME")

    def _take_lock(self) -> None:
        path = self.run / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartupError(
                f"can't use {path}: {error.strerror}", "the home belongs to another user"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StartupError(
                f"another ood runs with the home {self.path}{self._owner()}",
                "stop that one, or choose another home with --home",
            ) from None
        self._lock = descriptor

    def _owner(self) -> str:
        try:
            pid = msgspec.json.decode(self._address.read_bytes())["pid"]
        except (OSError, msgspec.DecodeError, KeyError, TypeError):
            return ""
        return f" (process {pid})"

    def announce(self, api_port: int) -> None:
        """Write down where the API listens, for the ``ood`` command.

        On a full disk it is left out: sites are to run there, too, and the command looks
        at the port of the settings.
        """
        content = msgspec.json.encode({"port": api_port, "pid": os.getpid()}) + b"\n"
        try:
            replace_file(self._address, content, mode=0o644, durable=False)
        except OSError as error:
            self._address.unlink(missing_ok=True)  # that of an earlier service leads astray
            self.log.error(
                "can't write {path}: {error}; the ood command looks for the API at apiPort",
                path=self._address,
                error=error.strerror,
            )

    def close(self) -> None:
        """Take the announcement down and give the lock back, if it was taken."""
        if self._lock is None:
            return  # another service's announcement is not ours to take down
        self._address.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None
