"""What the checks look at: values only, so that a test can state any machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ood.clock import wall_time
from ood.model.document import Document

OK, WARN, FAIL = "ok", "warn", "fail"
"""How good or bad a finding is."""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    :ivar level: :data:`OK`, :data:`WARN` or :data:`FAIL`.
    :ivar check: what was looked at, in a word.
    :ivar text: one sentence.
    :ivar fix: what to do, as a command where there is one.
    """

    level: str
    check: str
    text: str
    fix: str = ""


@dataclass(frozen=True)
class Listener:
    """Who listens on a port.

    :ivar pid: the process; None if the kernel does not tell this user.
    """

    pid: int | None = None
    name: str = ""
    user: str = ""

    def __str__(self) -> str:
        """Return it in words."""
        who = f"{self.name} (process {self.pid})" if self.pid is not None else "another program"
        return f"{who} of {self.user}" if self.user else who


@dataclass(frozen=True)
class Room:
    """What is free on the disk of a directory."""

    free_bytes: int
    total_bytes: int
    free_files: int
    total_files: int


@dataclass(frozen=True)
class Owned:
    """Who may do what with a file or directory."""

    mode: int
    owner: str
    ours: bool


@dataclass(frozen=True)
class AppFacts:
    """What is true of an app on this machine.

    :ivar obstacle: why it can't be started as it is configured; empty if it can.
    :ivar fix: what to do about that.
    :ivar packages: the packages that it depends on.
    """

    obstacle: str = ""
    fix: str = ""
    packages: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Unit:
    """The systemd unit of the service.

    :ivar installed: whether there is one.
    :ivar active: its state, such as ``active`` or ``failed``.
    :ivar enabled: whether it is started with the machine.
    :ivar pid: its main process, which may not answer yet; 0 if there is none.
    :ivar keeps: whether systemd holds sockets for it.
    """

    installed: bool
    active: str = ""
    enabled: str = ""
    pid: int = 0
    keeps: bool = False


@dataclass(frozen=True)
class Facts:
    """Everything that was found out.

    :ivar home: the home's path.
    :ivar root: whether we are root.
    :ivar user: who we are.
    :ivar version: ood's own version.
    :ivar document: what is configured; None if it could not be read.
    :ivar document_fault: why not.
    :ivar service_version: the version of the service that runs; empty if none answers.
    :ivar service_fault: why not.
    :ivar service_fix: what to do about that.
    :ivar forbidden: whether it may run, and only this user may not ask it.
    :ivar service_pids: the service's processes, itself first.
    :ivar statuses: the apps' states, as the service tells them.
    :ivar certificates: the certificates, as the service tells them.
    :ivar node: the path of node, and its version.
    :ivar npm: the path of npm; empty if there is none.
    :ivar ports: on which ports the service listens, or would, by their setting.
    :ivar listeners: who listens, by port.
    :ivar first_free_port: the lowest port that needs no rights.
    :ivar apps: facts by app.
    :ivar addresses: this machine's addresses.
    :ivar names: the addresses of each public name; a text says why there are none.
    :ivar rooms: free space by what it is for.
    :ivar open_files: how many files the service, or this shell, may open.
    :ivar owned: the files of the home that concern nobody else, by name.
    :ivar ktls: whether the kernel is ready for TLS.
    :ivar ktls_at_boot: whether it will be after the next boot.
    :ivar ip_vs: whether it is ready for IPVS.
    :ivar synchronised: whether the clock is set by others; None if nobody knows.
    :ivar unit: the service's unit; None if systemd does not run.
    :ivar now: the time of day.
    """

    home: str = "/var/lib/ood"
    root: bool = False
    user: str = "root"
    version: str = ""
    document: Document | None = field(default_factory=Document)
    document_fault: str = ""
    service_version: str = ""
    service_fault: str = ""
    service_fix: str = ""
    forbidden: bool = False
    service_pids: tuple[int, ...] = ()
    statuses: tuple[Mapping[str, Any], ...] = ()
    certificates: tuple[Mapping[str, Any], ...] = ()
    node: tuple[str, str] | None = None
    npm: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    listeners: Mapping[int, Listener] = field(default_factory=dict)
    first_free_port: int = 1024
    apps: Mapping[str, AppFacts] = field(default_factory=dict)
    addresses: frozenset[str] = frozenset()
    names: Mapping[str, frozenset[str] | str] = field(default_factory=dict)
    rooms: Mapping[str, Room] = field(default_factory=dict)
    open_files: int = 0
    owned: Mapping[str, Owned] = field(default_factory=dict)
    ktls: bool = False
    ktls_at_boot: bool = False
    ip_vs: bool = False
    synchronised: bool | None = None
    unit: Unit | None = None
    now: datetime = field(default_factory=wall_time)
