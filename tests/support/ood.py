"""The real service as a subprocess, and the ``ood`` command against it."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.support.ports import free_ports

PATIENCE_SECONDS = 60
"""How long something may take on a machine that is slow and busy with other things."""
READY_SECONDS = 90
"""Two busy cores start the service in some 2 s."""
COMMAND_SECONDS = 180
"""Longer than any limit of the service itself, so that its own error is seen."""
STOP_SECONDS = 90
"""Longer than the default ``killTimeout``, within which everything has to be gone."""
PAUSE_SECONDS = 0.02
PROGRAMS = Path(sys.executable).parent
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _end_with_parent() -> None:
    """Have the kernel end this process when the test run dies, so that nothing outlives it."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return once ``condition`` is true; fail the test if that takes too long."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        pause.wait(PAUSE_SECONDS)


class RunningOod:
    """``twistd -n ood`` with a home and ports of its own.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`.

    :param node: the ``node`` that apps shall run on; its directory is put first in PATH.
    :param environment: further variables for the service.
    :ivar descriptors: what the service's process gets beside its standard streams.
    """

    def __init__(
        self, node: str | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        # A short path: unix sockets below it have 107 bytes for theirs.
        self.directory = Path(tempfile.mkdtemp(prefix="ood-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.home = self.directory / "home"
        self.http_port, self.https_port, self.api_port = free_ports(3)
        self.environment = {**os.environ, **(environment or {}), "OOD_HOME": str(self.home)}
        if node is not None:
            path = f"{Path(node).parent}:{os.environ['PATH']}"
            self.environment["PATH"] = path
        self.descriptors: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: set[psutil.Process] = set()

    def __enter__(self) -> RunningOod:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The service's process id."""
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        """Return the command line of the service."""
        ports = {"http": self.http_port, "https": self.https_port, "api": self.api_port}
        options = [f"--{name}-port={port}" for name, port in ports.items()]
        return [
            sys.executable,
            str(PROGRAMS / "twistd"),
            "-n",
            "--pidfile=",
            "ood",
            f"--home={self.home}",
            *options,
        ]

    def start(self) -> None:
        """Start the service and wait until its API answers."""
        with (self.directory / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self.descriptors,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - it only makes a system call
            )
        try:
            wait_until(self._announced_or_ended, "the service is ready", READY_SECONDS)
            assert self._process.poll() is None, "the service ended"
        except AssertionError as error:
            log_text = self.log()
            self.close()
            raise AssertionError(f"{error}:\n{log_text}") from None

    def _announced_or_ended(self) -> bool:
        assert self._process is not None
        return (self.home / "run" / "api.json").exists() or self._process.poll() is not None

    def log(self) -> str:
        """Return what the service wrote."""
        return (self.directory / "service.log").read_text(errors="replace")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``ood`` with ``arguments``, whatever its exit status."""
        done = subprocess.run(
            [sys.executable, str(PROGRAMS / "ood"), *arguments],
            check=False,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        self._look_around()
        return done

    def ood(self, *arguments: str) -> str:
        """Run ``ood`` with ``arguments``; return its output; fail the test if it fails."""
        return self._output(arguments, {0})

    def _output(self, arguments: tuple[str, ...], allowed: set[int]) -> str:
        done = self.run(*arguments)
        if done.returncode not in allowed:
            raise AssertionError(
                f"ood {' '.join(arguments)}: status {done.returncode}\n"
                f"{done.stdout}{done.stderr}\n--- service ---\n{self.log()[-4000:]}"
            )
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Run ``ood --json`` with ``arguments``; return the value it printed.

        Status 3 is none of a failure: it tells that not all is as wanted.
        """
        return json.loads(self._output(("--json", *arguments), {0, 3}))

    def add(self, name: str, directory: Path, *options: str) -> int:
        """Add and start the app in ``directory``; return its own port."""
        # Not the port that ood assigns: several services run on a machine that tests.
        (port,) = free_ports(1)
        self.ood("init", name, "--cwd", str(directory), "--port", str(port), *options)
        self.ood("start", name)
        return port

    def processes(self) -> set[psutil.Process]:
        """Return everything below the service that runs now."""
        try:
            return set(psutil.Process(self.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return set()

    def _look_around(self) -> None:
        self._seen |= self.processes()

    def stop(self) -> None:
        """End the service; fail the test if it takes too long or leaves anything behind."""
        if self._process is None:
            return
        self._look_around()
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self._end_leftovers()
            raise AssertionError(
                f"no stop within {STOP_SECONDS} s:\n{self.log()[-4000:]}"
            ) from None
        left = self._end_leftovers()
        assert not left, f"left behind: {left}\n{self.log()[-4000:]}"

    def kill(self) -> None:
        """End the service as the kernel would, by SIGKILL; whatever it started is on its own."""
        assert self._process is not None
        self._look_around()
        process, self._process = self._process, None
        process.kill()
        process.wait()

    def _end_leftovers(self) -> list[str]:
        """Kill what the service started and did not end; return what that was."""
        running = [one for one in self._seen if one.is_running() and one.status() != "zombie"]
        names = [f"{one.pid} {' '.join(one.cmdline())[:100]}" for one in running]
        for one in running:
            one.kill()
        psutil.wait_procs(running, timeout=5)
        self._seen.clear()
        return names

    def close(self) -> None:
        """Stop the service if it runs, and remove its directory."""
        try:
            self.stop()
        finally:
            self._end_leftovers()
            shutil.rmtree(self.directory, ignore_errors=True)
