"""Members as processes: started, killed, paused, cut off, and asked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from tests.support.ports import free_ports

ROOT = Path(__file__).parents[3]
SERVER = ROOT / "examples" / "raft-kv" / "server.py"
CLUSTER = "kv"

# Short, so that a test sees several elections; a loaded machine still holds it.
TICK_SECONDS = 0.03
ELECTION_TICKS = 10


class Processes:
    """A cluster of ``examples/raft-kv`` processes.

    :param count: how many members.
    :param hosts: their addresses; loopback if not given.
    :param prefix: for each member, what its command is run by (``ip netns exec``).
    :param options: more options of every server.
    """

    def __init__(
        self,
        count: int,
        hosts: list[str] | None = None,
        prefix: list[list[str]] | None = None,
        options: list[str] | None = None,
    ) -> None:
        self.names = "abcde"[:count]
        self.directory = Path(tempfile.mkdtemp(prefix="raft-"))
        self.data = {name: self.directory / name for name in self.names}
        ports = free_ports(count)
        hosts = hosts or ["127.0.0.1"] * count
        self.addresses = {
            name: f"{host}:{port}"
            for name, host, port in zip(self.names, hosts, ports, strict=True)
        }
        self._prefix = dict(zip(self.names, prefix or [[]] * count, strict=True))
        self.options = options if options is not None else ["--plaintext"]
        self.peers: dict[str, str] | None = None  # the first members, if not all
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []

    def start(self, *names: str) -> None:
        """Start members, all if none is named."""
        for name in names or self.names:
            command = [*self._prefix[name], sys.executable, str(SERVER), "--id", name]
            command += ["--cluster", CLUSTER, "--listen", self.addresses[name]]
            command += ["--data", str(self.data[name]), "--tick", str(TICK_SECONDS)]
            command += ["--election-ticks", str(ELECTION_TICKS), *self.options]
            peers = self.addresses if self.peers is None else self.peers
            for other in peers:
                if other != name and other in self.names:
                    command += ["--peer", f"{other}={peers[other]}"]
            log = (self.directory / f"{name}.log").open("ab")
            self._logs.append(log)
            environ = {**os.environ, "PYTHONPATH": str(ROOT)}
            self._running[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environ)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a member."""
        self._running[name].send_signal(number)

    def kill(self, name: str) -> None:
        """Kill a member; return when it is gone."""
        self.signal(name, signal.SIGKILL)
        self._running.pop(name).wait()

    def ended(self, name: str) -> int | None:
        """Return the exit status of a member, None while it runs."""
        return self._running[name].poll()

    def log(self, name: str) -> str:
        """Return what a member wrote."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """Kill everything that was started and remove its files."""
        for name in list(self._running):
            self.signal(name, signal.SIGCONT)
            self.kill(name)
        for log in self._logs:
            log.close()
        shutil.rmtree(self.directory, ignore_errors=True)
