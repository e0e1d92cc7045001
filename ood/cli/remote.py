"""``ood --host``: the API of another machine, through ssh.

One ssh logs in, and everything goes through it: reading where the API is and its
token, and a forwarding from a unix socket that only this user can open.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ood.api.types import LOOPBACK
from ood.cli.access import Access
from ood.errors import OodError, UnavailableError
from ood.paths import ADDRESS_FILE, SYSTEM_HOME, TOKEN_FILE

CONNECT_SECONDS = 15
"""How long ssh may take to reach the other machine; a person may type a password after that."""
ALIVE_SECONDS = 15
"""How often ssh asks whether the other machine is still there."""
PROGRAM_SECONDS = 30.0
"""How long reading two small files may take once we are logged in."""
POLL_SECONDS = 0.02
"""How often to look whether ssh has logged in."""
END_SECONDS = 5.0
"""How long ssh may take to end."""
PLACE_BYTES_MAX = 70
"""A socket's path has 107 bytes; a directory's name and what ssh makes of a file's need 34."""
SHORT_PLACE = "/tmp"  # noqa: S108 - the directory made there is this user's alone

NO_TOKEN, NOT_RUNNING = 3, 4
"""Exit statuses of :data:`SCRIPT`."""
SCRIPT = f"""\
home=$1
[ -n "$home" ] || home=$OOD_HOME
[ -n "$home" ] || if [ "$(id -u)" = 0 ]; then home={SYSTEM_HOME}; else home=$HOME/.ood; fi
printf "%s\\n" "$home"
cat "$home/{TOKEN_FILE}" || exit {NO_TOKEN}
cat "$home/{ADDRESS_FILE}" || exit {NOT_RUNNING}
"""
"""Prints the home, the token, and where the API listens; for the other machine's sh."""

PLAIN_WORDS = (
    ("Permission denied", "it does not let you in", "try it: ssh {host}; see: ssh-copy-id"),
    ("Could not resolve", "there is no machine of that name", "check the name"),
    ("Connection refused", "no ssh service answers there", "is sshd running? is it another port?"),
    ("timed out", "it does not answer", "is it up, and does a firewall let ssh through?"),
    ("No route to host", "there is no way to it", "is it up? check the network"),
    ("REMOTE HOST IDENTIFICATION", "it is not the machine that it was", "see: ssh {host}"),
    ("Host key verification", "nobody has checked its key yet", "log in once by hand: ssh {host}"),
)
"""What ssh says, what that means, and what to do."""


class SshError(OodError):
    """The other machine can't be reached, or lets nobody in."""

    code = "ssh"


def check_host(host: str) -> None:
    """Check that a host is one: ssh would take a dash for an option.

    :raises SshError: it is none.
    """
    if not host or host.startswith("-") or any(one.isspace() for one in host):
        raise SshError(f"{host!r} is no host", "name it as ssh does: --host user@server")


class Tunnel:
    """A log-in on another machine.

    :ivar host: its name, as ssh takes it.
    :ivar socket: the unix socket that leads to its API.
    """

    def __init__(self, host: str, directory: Path, ssh: str) -> None:
        self.host = host
        self.socket = directory / "api"
        self._ssh = ssh
        self._control = directory / "ssh"
        self._said = directory / "said"
        self._master: subprocess.Popen[bytes] | None = None

    def open(self, home: str) -> Access:
        """Log in, and make the way to the API; return what it takes to use it.

        :raises OodError: the machine, or ood on it, can't be reached.
        """
        self._log_in()
        access = self._read(home)
        self._forward(f"{self.socket}:{LOOPBACK}:{access.port}")
        return access

    def forward_port(self, port: int) -> None:
        """Make the API's port reachable on this machine's loopback, for a browser.

        :raises SshError: the port is in use here.
        """
        self._forward(f"{LOOPBACK}:{port}:{LOOPBACK}:{port}")

    def close(self) -> None:
        """Log out."""
        if self._master is None:
            return
        self._master.terminate()
        try:
            self._master.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._master.kill()
            self._master.wait()

    def _log_in(self) -> None:
        options = {
            "ControlMaster": "yes",
            "ControlPersist": "no",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": str(ALIVE_SECONDS),
            "LogLevel": "ERROR",
            "StreamLocalBindMask": "0177",
        }
        words = [f"-o{name}={value}" for name, value in options.items()]
        with self._said.open("wb") as said:
            self._master = subprocess.Popen(  # noqa: S603 - words, no shell; the host is checked
                [self._ssh, "-S", str(self._control), "-N", "-T", *words, "--", self.host],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        while not self._control.exists():
            try:
                self._master.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            raise self._refused()

    def _refused(self) -> SshError:
        """Return what ssh said, in plain words."""
        said = self._said.read_text(errors="replace").strip()
        for part, meaning, hint in PLAIN_WORDS:
            if part in said:
                return SshError(
                    f"can't log in on {self.host}: {meaning}", hint.format(host=self.host)
                )
        last = said.splitlines()[-1] if said else "ssh ended without a word"
        return SshError(f"can't log in on {self.host}: {last}", f"try it: ssh {self.host}")

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - words, no shell; the host is checked
                [self._ssh, "-S", str(self._control), *words],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PROGRAM_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise SshError(f"{self.host} does not answer any more") from None

    def _read(self, home: str) -> Access:
        """Read port and token on the other machine.

        :raises OodError: they can't be read there.
        """
        # ssh gives the words to the other user's shell, so they are quoted for one.
        command = shlex.join(("sh", "-c", SCRIPT, "ood", home))
        done = self._run("-T", "--", self.host, command)
        where, *rest = done.stdout.splitlines() or [""]
        if done.returncode == NOT_RUNNING:
            hint = f"start it there: ssh {self.host} sudo systemctl start ood"
            raise UnavailableError(f"ood is not running on {self.host} (home {where})", hint)
        if done.returncode == NO_TOKEN:
            said = (done.stderr.strip().splitlines() or ["it can't be read"])[-1]
            reason = said.rpartition(": ")[2]
            hint = "log in as who runs ood there, such as root, or name its home with --home"
            text = f"{self.host}: {where}/{TOKEN_FILE}: {reason}"
            raise SshError(text, hint)
        try:
            token, address = rest[0].strip(), json.loads(rest[1])
            return Access(Path(f"{self.host}:{where}"), int(address["port"]), token)
        except (IndexError, ValueError, KeyError, TypeError):
            hint = f"try it: ssh {self.host} ood status"
            raise SshError(f"{self.host} does not tell where its ood is", hint) from None

    def _forward(self, what: str) -> None:
        done = self._run("-O", "forward", "-L", what, "--", self.host)
        if done.returncode == 0:
            return
        said = done.stderr.strip() or "ssh does not say why"
        hint = "does sshd there allow AllowTcpForwarding? is the port in use here?"
        raise SshError(f"no tunnel to {self.host}: {said.splitlines()[-1]}", hint)


def _place() -> str:
    """Return where the sockets' directory is made: in TMPDIR, unless that is too long for them."""
    own = tempfile.gettempdir()
    return own if len(os.fsencode(own)) <= PLACE_BYTES_MAX else SHORT_PLACE


@contextmanager
def tunnel(host: str, home: str) -> Iterator[tuple[Tunnel, Access]]:
    """Return a context with the way to the API of ``host``.

    :param home: the home there; empty: the one that its user has.
    :raises OodError: there is no way.
    """
    check_host(host)
    ssh = shutil.which("ssh")
    if ssh is None:
        raise SshError("there is no program ssh here", "install it (apt install openssh-client)")
    with tempfile.TemporaryDirectory(prefix="ood-", dir=_place()) as directory:
        made = Tunnel(host, Path(directory), ssh)
        try:
            yield made, made.open(home)
        finally:
            made.close()
