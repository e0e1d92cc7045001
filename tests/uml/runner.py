"""Runs a command in user-mode Linux and returns what it said.

The packages are Debian's ``user-mode-linux``, and ``iproute2`` and ``ipvsadm``
for what the tests run inside.  Where they are missing, or where the machine
forbids what the guest needs, :func:`obstacle` says so, and tests skip by that.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ood.model.services import SCHEDULERS

KERNEL = "linux.uml"
MEMORY = "512M"
PROJECT = Path(__file__).resolve().parents[2]
GUEST = Path(__file__).with_name("guest.py")

IPVS_MODULES = (
    "ip_vs",
    *(f"ip_vs_{name}" for name in SCHEDULERS),
)

ROOM_BYTES = 1 << 30
"""What the directory with the guest's memory should have free."""

POWER_OFF_SECONDS = 5
PR_SET_PDEATHSIG = 1


class GuestFailed(Exception):
    """The guest did not get to the end of its command."""


@dataclass(frozen=True)
class Result:
    """What a command in the guest left behind."""

    status: int
    output: str
    errors: str


@cache
def obstacle() -> str | None:
    """Return why user-mode Linux can't run here, or None when it can."""
    for program in (KERNEL, "ip", "ipvsadm"):
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        if shutil.which(program, path=path) is None:
            return f"user-mode Linux: {program} is not installed"
    try:
        result = run([sys.executable, "-c", "print(1)"], seconds=60, modules=("ip_vs",))
    except (OSError, GuestFailed) as error:
        return f"user-mode Linux does not run here: {error}"
    return None if result.status == 0 else f"user-mode Linux: {result.errors[-300:]}"


def run(command: Sequence[str], *, seconds: float, modules: Sequence[str] = IPVS_MODULES) -> Result:
    """Run ``command`` in a guest of its own, in the project's directory."""
    with tempfile.TemporaryDirectory(prefix="ood-uml-", dir=_roomy_directory()) as name:
        job = Path(name)
        _prepare(job, command, modules)
        with _boot(job) as guest:
            try:
                guest.wait(seconds)
            except subprocess.TimeoutExpired:
                raise GuestFailed(
                    f"not done after {seconds} s; it said:\n{_read(job / 'stdout')[-2000:]}"
                    f"\n{_read(job / 'stderr')[-2000:]}"
                ) from None
            finally:
                _end(guest)
        return _result(job)


def _prepare(job: Path, command: Sequence[str], modules: Sequence[str]) -> None:
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    description = {
        "command": list(command),
        "cwd": str(PROJECT),
        "environment": environment,
        "modules": list(modules),
    }
    (job / "job.json").write_text(json.dumps(description))
    for name in ("stdout", "stderr"):
        (job / name).touch()


def _boot(job: Path) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None)
    kernel = shutil.which(KERNEL) or KERNEL
    arguments = [
        *(kernel, f"mem={MEMORY}", "root=98:0", "rootfstype=hostfs", "rootflags=/", "ro"),
        *(f"uml_dir={job}/", "umid=guest", "con=null", "con0=null,fd:1", "ssl=null"),
        *("console=tty0", "panic=-1", "random.trust_bootloader=on", "quiet", "loglevel=4"),
        *(f"init={os.path.realpath(sys.executable)}", "--", "-I", "-S", str(GUEST), str(job)),
    ]
    with (job / "console").open("wb") as console:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**os.environ, "TMPDIR": str(job.parent)},
            start_new_session=True,
            # no guest outlives the process that started it; it has no threads here
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),  # noqa: PLW1509
        )


def _end(guest: subprocess.Popen[bytes]) -> None:
    """End the guest with all its helper processes; they share its process group."""
    with suppress(ProcessLookupError):
        os.killpg(guest.pid, signal.SIGKILL)
    guest.wait(POWER_OFF_SECONDS)


def _result(job: Path) -> Result:
    if (job / "error").exists():
        raise GuestFailed(_read(job / "error"))
    if not (job / "status").exists():
        raise GuestFailed("no status; its console said:\n" + _read(job / "console")[-2000:])
    status = int(_read(job / "status"))
    return Result(status, _read(job / "stdout"), _read(job / "stderr"))


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _roomy_directory() -> str:
    """Return where the guest's memory file may lie: executable and large enough."""
    for directory in ("/dev/shm", tempfile.gettempdir(), "/var/tmp"):
        if not os.access(directory, os.W_OK):
            continue
        system = os.statvfs(directory)
        if not system.f_flag & os.ST_NOEXEC and system.f_bavail * system.f_frsize >= ROOM_BYTES:
            return directory
    return tempfile.gettempdir()
