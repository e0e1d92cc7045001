"""A little network of its own for each member, to be cut as one likes.

Every member lives in a network namespace; their cables meet in a bridge in a
namespace in the middle, and so does a cable of the test's own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import suppress
from random import Random


class IpError(Exception):
    """``ip`` refused."""


def ip(*words: str) -> None:
    """Run ``ip``.

    :raises IpError: with what it said.
    """
    done = subprocess.run(["ip", *words], capture_output=True, check=False)
    if done.returncode:
        raise IpError(f"ip {' '.join(words)}: {done.stderr.decode().strip()}")


def why_not() -> str:
    """Return why there can be no namespaces here, "" if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the ip command (iproute2)"
    name = f"oodtry{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("-n", name, "link", "add", "br0", "type", "bridge")
    except IpError as error:
        return f"network namespaces can't be made here: {error}"
    finally:
        with suppress(IpError):
            ip("netns", "del", name)
    return ""


class Network:
    """Members' namespaces and the cables between them.

    :ivar hosts: the members' addresses.
    :ivar prefixes: what runs a command in each member's namespace.
    """

    def __init__(self, names: str) -> None:
        self._tag = f"{os.getpid() % 10000}{Random(os.urandom(4)).randrange(100):02}"
        self._net = self._take_net()
        self._names = names
        self._hub = f"oodhub{self._tag}"
        self.hosts = [f"{self._net}.{place}" for place in range(1, len(names) + 1)]
        self.prefixes = [["ip", "netns", "exec", self._space(name)] for name in names]

    def _take_net(self) -> str:
        """Return a net that no other process that tests uses: 10.213.<random>.0/24.

        The name of a socket holds it until the end.
        """
        self._holder = socket.socket(socket.AF_UNIX)
        for number in Random(os.urandom(4)).sample(range(1, 255), 254):
            with suppress(OSError):
                self._holder.bind(f"\0ood-test-net-{number}")
                return f"10.213.{number}"
        raise IpError("other tests use all nets")

    def _space(self, name: str) -> str:
        return f"ood{name}{self._tag}"

    def up(self) -> None:
        """Make everything."""
        ip("netns", "add", self._hub)
        ip("-n", self._hub, "link", "add", "br0", "type", "bridge")
        ip("-n", self._hub, "link", "set", "br0", "up")
        for name, host in zip(self._names, self.hosts, strict=True):
            ip("netns", "add", self._space(name))
            self._cable(name, host, self._space(name))
        self._cable("t", f"{self._net}.254", None)

    def _cable(self, name: str, host: str, space: str | None) -> None:
        near, far = f"v{name}{self._tag}", f"h{name}{self._tag}"
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        ip("link", "set", far, "netns", self._hub)
        ip("-n", self._hub, "link", "set", far, "master", "br0", "up")
        inside = [] if space is None else ["-n", space]
        if space is not None:
            ip("link", "set", near, "netns", space)
            ip(*inside, "link", "set", "lo", "up")
        ip(*inside, "address", "add", f"{host}/24", "dev", near)
        ip(*inside, "link", "set", near, "up")

    def unplug(self, name: str) -> None:
        """Cut a member off from everybody."""
        ip("-n", self._hub, "link", "set", f"h{name}{self._tag}", "down")

    def plug(self, name: str) -> None:
        """Undo :meth:`unplug`."""
        ip("-n", self._hub, "link", "set", f"h{name}{self._tag}", "up")

    def lose(self, source: str, target: str) -> None:
        """Lose everything that one member sends to another; not the other way."""
        ip("-n", self._space(source), "route", "add", "blackhole", f"{self._host(target)}/32")

    def carry(self, source: str, target: str) -> None:
        """Undo :meth:`lose`."""
        ip("-n", self._space(source), "route", "del", "blackhole", f"{self._host(target)}/32")

    def _host(self, name: str) -> str:
        return self.hosts[self._names.index(name)]

    def down(self) -> None:
        """Remove everything, whatever of it was made."""
        for space in [*(self._space(name) for name in self._names), self._hub]:
            with suppress(IpError):
                ip("netns", "del", space)
        with suppress(IpError):
            ip("link", "del", f"vt{self._tag}")
        self._holder.close()
