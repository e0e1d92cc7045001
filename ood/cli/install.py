"""``ood install``: a service of this machine, and its undoing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import ood
from ood.atomic import replace_file
from ood.cli.session import Invocation, run_coroutine
from ood.cli.systemd import UNIT_NAME, Installation, unit_text
from ood.errors import OodError, StartupError, StoreError
from ood.paths import DOCUMENT_FILE, SYSTEM_HOME, VERSIONS_DIRECTORY

START_SECONDS_MAX = 30.0
"""How long the service may take until its API answers: it has little to do."""
RETRY_SECONDS = 0.2
"""Pause between two looks."""
PACKAGE = Path(ood.__file__).parent
"""This ood's own files."""

MODULE = "tls"
"""The kernel's module for TLS: with it, workers get HTTPS connections themselves (kTLS)."""
MODULES_FILE = Path("/etc/modules-load.d/ood.conf")
MODULES_TEXT = f"""\
# Written by "ood install"; "ood install --uninstall" removes it.
{MODULE}
"""


class NoSystemdError(OodError):
    """This machine's services are not systemd's."""

    code = "no_systemd"


def _find_twistd() -> Path:
    """Return the twistd of this very installation."""
    beside = Path(sys.executable).parent / "twistd"
    found = str(beside) if beside.exists() else shutil.which("twistd")
    if found is None:
        raise StartupError(
            f"there is no twistd beside {sys.executable}", "install ood again, with pip"
        )
    return Path(found)


def _find_node() -> Path | None:
    found = shutil.which("node")
    return Path(found) if found else None


def code_of(package: Path) -> str:
    """Return which ood the files of a package are: its version, and when they were put there."""
    files = (path for path in package.rglob("*") if path.suffix != ".pyc" and path.is_file())
    newest = max(path.stat().st_mtime for path in files)
    moment = datetime.fromtimestamp(newest, timezone.utc).isoformat(timespec="milliseconds")
    return f"ood {ood.__version__} of {moment}"


def wait_until_answering(invocation: Invocation) -> None:
    """Return when the service's API answers.

    :raises OodError: it does not within :data:`START_SECONDS_MAX`.
    """

    async def wait() -> None:
        from ood.cli.waiting import answering

        await answering(invocation, START_SECONDS_MAX, RETRY_SECONDS)

    run_coroutine(wait)


@dataclass
class Machine:
    """The machine, as far as installing a service is concerned.

    :ivar units: where unit files of the administrator are.
    :ivar marker: exists where systemd runs.
    :ivar user: the user that we are.
    :ivar wait: returns when the service answers.
    :ivar modules: names what the kernel loads at boot.
    :ivar package: ood's own files.
    """

    units: Path = Path("/etc/systemd/system")
    marker: Path = Path("/run/systemd/system")
    user: int = field(default_factory=os.geteuid)
    wait: Callable[[Invocation], None] = wait_until_answering
    modules: Path = MODULES_FILE
    package: Path = PACKAGE

    @property
    def unit(self) -> Path:
        """The service's unit file."""
        return self.units / UNIT_NAME

    def has_systemd(self) -> bool:
        """Tell whether systemd runs this machine's services."""
        return self.marker.is_dir() and shutil.which("systemctl") is not None

    def systemctl(self, *arguments: str) -> None:
        """Tell systemd something.

        :raises OodError: it refused.
        """
        command = ["systemctl", *arguments]
        done = subprocess.run(  # noqa: S603 - fixed words
            command, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            why = done.stderr.strip() or f"status {done.returncode}"
            raise StartupError(
                f"{' '.join(command)} failed: {why}", f"look at: journalctl -u {UNIT_NAME} -n 30"
            )

    def load_module(self) -> bool:
        """Have the kernel load what it needs for TLS; return whether it could."""
        modprobe = shutil.which("modprobe", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if modprobe is None:
            return False
        command = [modprobe, "-q", MODULE]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - fixed words


def _check(machine: Machine, command: str, home: Path) -> None:
    if not machine.has_systemd():
        raise NoSystemdError(
            "there is no systemd here, so ood can't become one of its services",
            f"let your init or container run: {_find_twistd()} -n --pidfile= ood --home {home}",
        )
    if machine.user != 0:
        raise StartupError("only root can install a service", f"run: sudo {command}")


def _check_document(home: Path) -> None:
    """Look whether this ood could start with what is in ``home``, before another is stopped.

    :raises StoreError: it can't read the document, which was changed by hand, or written by
        another ood than this one; the service, if there is one, goes on.
    """
    from ood.cli.doctor.gather import read_document

    path = home / DOCUMENT_FILE
    _, fault = read_document(path)
    if fault and os.access(path, os.R_OK):  # root can read it, or it is not root's to judge
        earlier = home / VERSIONS_DIRECTORY
        hint = f"nothing was changed; mend it, or put back an earlier document from {earlier}"
        raise StoreError(fault, hint)


def install(invocation: Invocation, machine: Machine) -> None:
    """Write, enable and start the service's unit."""
    home = Path(invocation.home).expanduser().absolute() if invocation.home else SYSTEM_HOME
    invocation.must_be_here("install")
    _check(machine, "ood install", home)
    _check_document(home)
    invocation.home = str(home)
    installation = Installation(_find_twistd(), home, _find_node(), code_of(machine.package))
    sealing = machine.load_module()  # now, as the service looks when it starts
    if sealing:  # else each boot would complain of a module that is not there
        _write(machine.modules, MODULES_TEXT)
    changed = _enable(machine, unit_text(installation))
    # Where unit and ood are what they were it is left running: nobody's site stops for this.
    machine.systemctl("restart" if changed else "start", UNIT_NAME)
    machine.wait(invocation)
    _tell(
        invocation,
        {"unit": str(machine.unit), "home": str(home), "changed": changed, "kernelTls": sealing},
        f"ood runs, and will after each boot.  Home: {home}  Unit: {machine.unit}",
        "Next: go to an app's directory, then: ood init NAME",
    )


def _enable(machine: Machine, text: str) -> bool:
    """Make ``text`` the unit that systemd knows; return whether it was another one.

    What fails on the way, or is interrupted, leaves the unit that was there: else the next
    call would find nothing changed, and leave the old ood running.
    """
    before = machine.unit.read_bytes() if machine.unit.exists() else None
    changed = _write(machine.unit, text)
    try:
        machine.systemctl("daemon-reload")
        machine.systemctl("enable", UNIT_NAME)
    except BaseException:
        if changed and before is not None:
            replace_file(machine.unit, before, mode=0o644)
        raise
    return changed


def uninstall(invocation: Invocation, machine: Machine) -> None:
    """Stop and remove the service; data stays."""
    home = invocation.home or str(SYSTEM_HOME)
    invocation.must_be_here("install --uninstall")
    _check(machine, "ood install --uninstall", Path(home))
    existed = machine.unit.exists()
    if existed:
        machine.systemctl("disable", "--now", UNIT_NAME)
        machine.unit.unlink()
        machine.modules.unlink(missing_ok=True)
        machine.systemctl("daemon-reload")
    _tell(
        invocation,
        {"removed": existed, "home": home},
        "ood is stopped and its service removed." if existed else "There is no service of ood.",
        f"Its apps' settings, logs and certificates are still in {home}",
    )


def _write(path: Path, text: str) -> bool:
    """Make ``text`` the file's content; return whether it was something else."""
    if path.exists() and path.read_text() == text:
        return False
    try:
        replace_file(path, text.encode(), mode=0o644)
    except OSError as error:
        raise StartupError(f"can't write {path}: {error.strerror}") from None
    return True


def _tell(invocation: Invocation, value: dict[str, object], *lines: str) -> None:
    if invocation.output.json:
        invocation.output.value(value)
        return
    for line in lines:
        invocation.output.say(line)
