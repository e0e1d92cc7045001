"""Checks of the machine: Node, kernel, disk, files, clock."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ood.cli.doctor.facts import FAIL, OK, WARN, Facts, Finding
from ood.cli.text import size

NODE_OLDEST = 18
"""The oldest Node that ood works with."""
FREE_PART_LEAST = 0.02
"""A disk with less room than this part is as good as full."""
FREE_PART_LITTLE = 0.10
FREE_BYTES_LEAST = 100 << 20
"""Less than this does not hold a day's logs, or a release."""
FREE_BYTES_LITTLE = 1 << 30
OPEN_FILES_LEAST = 4096
"""Each visitor takes one or two: with fewer, a busy site refuses some."""
OPEN_FILES_FEW = 65_536
KTLS_AT_BOOT = "at each boot: sudo ood install, or echo tls > /etc/modules-load.d/ood.conf"


def check_node(facts: Facts) -> Iterator[Finding]:
    """Node is there, and new enough."""
    needed = FAIL if _interpreters(facts) & {"node", "npm"} else WARN
    if facts.node is None:
        fix = "apt install nodejs npm, or for ood alone: pip install 'ood[node]'"
        yield Finding(needed, "node", "there is no node in the PATH of this shell", fix)
        return
    path, version = facts.node
    found = re.match(r"v?(\d+)", version)
    if found is None:
        fix = f"look at it: {path} --version"
        yield Finding(needed, "node", f"{path} does not say its version", fix)
    elif int(found[1]) < NODE_OLDEST:
        text = f"Node {version} in {path} is too old: ood needs {NODE_OLDEST} or newer"
        yield Finding(needed, "node", text, "pip install 'ood[node]', or install a newer one")
    else:
        yield Finding(OK, "node", f"Node {version} in {path}")


def check_npm(facts: Facts) -> Iterator[Finding]:
    """Npm is there: deployments install packages with it."""
    if facts.npm:
        yield Finding(OK, "npm", f"npm in {facts.npm}")
    elif facts.node is not None:
        level = FAIL if "npm" in _interpreters(facts) else WARN
        text = "there is no npm: ood deploy can't install what apps depend on"
        yield Finding(level, "npm", text, "apt install npm")


def _interpreters(facts: Facts) -> set[str]:
    apps = facts.document.apps.values() if facts.document else ()
    return {app.interpreter for app in apps}


def check_kernel(facts: Facts) -> Iterator[Finding]:
    """The kernel can do what makes ood fast; without it, ood does it itself."""
    services = bool(facts.document and facts.document.services)
    engine = facts.document.settings.balancer_engine if facts.document else "auto"
    if facts.ktls and (facts.ktls_at_boot or facts.unit is None):
        yield Finding(OK, "kernel", "the kernel can do TLS (kTLS)")
    elif facts.ktls:
        text = "the kernel can do TLS (kTLS), but nothing loads its module tls at the next boot"
        yield Finding(WARN, "kernel", text, KTLS_AT_BOOT)
    else:
        level = WARN if facts.ports.get("httpsPort") and facts.statuses else OK
        text = "the kernel does no TLS (kTLS): HTTPS works, but ood itself has to do all of it"
        fix = f"modprobe tls; {KTLS_AT_BOOT}"
        yield Finding(level, "kernel", text, fix)
    if facts.ip_vs:
        yield Finding(OK, "kernel", "the kernel has IPVS for ood lb")
    elif services and engine == "ipvs":
        text = "the kernel has no IPVS, and balancerEngine is ipvs"
        yield Finding(FAIL, "kernel", text, "modprobe ip_vs")
    elif services and engine == "auto":
        text = "the kernel has no IPVS: ood itself relays the balancer's connections"
        yield Finding(WARN, "kernel", text, "modprobe ip_vs")


def check_disk(facts: Facts) -> Iterator[Finding]:
    """There is room for logs and releases."""
    for what, room in facts.rooms.items():
        free, total = room.free_bytes, max(room.total_bytes, 1)
        least = free < FREE_BYTES_LEAST or free / total < FREE_PART_LEAST
        little = free < FREE_BYTES_LITTLE or free / total < FREE_PART_LITTLE
        text = f"{size(free)} free for {what}"
        fix = f"make room; old releases go with: rm in {facts.home}/apps/APP/releases"
        if least or little:
            yield Finding(FAIL if least else WARN, "disk", text, fix)
        elif room.total_files and room.free_files / room.total_files < FREE_PART_LEAST:
            text = f"the disk for {what} has room for {room.free_files} more files only"
            yield Finding(FAIL, "disk", text, fix)
        else:
            yield Finding(OK, "disk", text)


def check_files(facts: Facts) -> Iterator[Finding]:
    """The service may open a file for every visitor."""
    whose = "the service" if facts.service_pids else "a service started here"
    text = f"{whose} may open {facts.open_files} files"
    if facts.open_files >= OPEN_FILES_FEW:
        yield Finding(OK, "files", text)
        return
    level = FAIL if facts.open_files < OPEN_FILES_LEAST else WARN
    fix = "sudo ood install sets LimitNOFILE; in a shell: ulimit -n 65536"
    yield Finding(level, "files", text, fix)


def check_clock(facts: Facts) -> Iterator[Finding]:
    """The clock is right: certificates are judged by it."""
    if facts.synchronised:
        yield Finding(OK, "clock", "the clock is synchronised")
    elif facts.synchronised is False:
        text = "nobody sets this machine's clock: certificates may seem expired, or not yet valid"
        yield Finding(WARN, "clock", text, "timedatectl set-ntp true")
