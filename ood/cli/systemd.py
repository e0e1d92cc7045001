"""The systemd unit of the service, as a pure function.

What hardens it stops where it would harm the apps, which run below the same
unit: they write to their own directories anywhere, compile code at run time,
and some start browsers, mail programs or tools with set-user-id bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

UNIT_NAME = "ood.service"
"""The unit's file and name."""
STOP_SECONDS_MAX = 120
"""How long stopping may take: above the default killTimeout of 30 s for drain and stop."""
OPEN_FILES_MAX = 1_048_576
"""Open files of ood and of each worker: a busy site has a socket for every visitor."""
SOCKETS_KEPT_MAX = 16
"""Most sockets that systemd keeps for ood; two ports of two families are four."""
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where services find programs."""

# Change users and owners, signal their processes, bind ports below 1024, read what a
# site keeps from others, raise limits, and for the balancer set up IPVS.
CAPABILITIES = (
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_ADMIN",
    "CAP_CHOWN",
    "CAP_FOWNER",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_SYS_RESOURCE",
)
"""All that ood, and whatever it starts, can have of root's powers."""


@dataclass(frozen=True)
class Installation:
    """Where things are on this machine.

    :ivar twistd: the twistd that has ood's plugin.
    :ivar home: ood's home.
    :ivar node: the node that was found, if any.
    :ivar code: which ood it is: another one is another unit, so the service is started anew.
    """

    twistd: Path
    home: Path
    node: Path | None
    code: str = ""


def search_path(installation: Installation) -> str:
    """Return the PATH of the service: the system's, then where node and ood were found."""
    found = [str(installation.twistd.parent)]
    if installation.node is not None:
        found.insert(0, str(installation.node.parent))
    return ":".join(dict.fromkeys((*SYSTEM_PATH, *found)))


def quoted(text: str) -> str:
    """Return ``text`` as one word of a unit file."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if any(letter in text for letter in " '\"\\;$") else escaped


def unit_text(installation: Installation) -> str:
    """Return the unit file."""
    # A dollar sign begins a variable in ExecStart, and only there.
    command = (
        f"{quoted(str(installation.twistd))} -n --pidfile= ood"
        f" --home {quoted(str(installation.home))}"
    ).replace("$", "$$")
    return f"""\
# Written by "ood install"; "ood install --uninstall" removes it.
# To change something, use "systemctl edit {UNIT_NAME}".
# For: {installation.code}
[Unit]
Description=ood, Node.js process manager and reverse proxy
After=network.target nss-lookup.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={command}
Environment={quoted("PATH=" + search_path(installation))}
WorkingDirectory=/
Restart=always
RestartSec=1
# Who comes while ood starts anew waits in the sockets that systemd keeps meanwhile.
FileDescriptorStoreMax={SOCKETS_KEPT_MAX}

# SIGTERM goes to ood alone, which drains its workers; what is left after that is killed.
KillMode=mixed
TimeoutStopSec={STOP_SECONDS_MAX}
# One worker that the kernel kills for want of memory is not the end of all others.
OOMPolicy=continue
LimitNOFILE={OPEN_FILES_MAX}
TasksMax=infinity

CapabilityBoundingSet={" ".join(CAPABILITIES)}
# Apps write to their own directories, wherever these are; not to the system's.
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
RestrictRealtime=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=~@clock @module @reboot @swap @obsolete @cpu-emulation
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
