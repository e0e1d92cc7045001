"""From the host names of apps to those that need a certificate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ood.certs.core.names import covers, is_local, why_not_public

LOCALHOST = "localhost"
"""This name ood vouches for whatever apps there are."""


@dataclass(frozen=True)
class Plan:
    """What is wanted.

    :ivar hosts: the host names of each app.
    :ivar public: names of running apps that a public CA is to vouch for.
    :ivar local: names that ood vouches for itself.
    :ivar without: why the others have no certificate, by name.
    """

    hosts: Mapping[str, tuple[str, ...]]
    public: tuple[str, ...]
    local: frozenset[str]
    without: Mapping[str, str]

    def apps_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the apps that a certificate for ``names`` is of use to."""
        covered = tuple(names)
        return tuple(
            app for app, hosts in self.hosts.items() if any(covers(covered, host) for host in hosts)
        )


NOTHING = Plan({}, (), frozenset(), {})
"""Where HTTPS is off."""


def plan(hosts: Mapping[str, tuple[str, ...]], running: Iterable[str]) -> Plan:
    """Return what is wanted.

    :param hosts: the host names of each app.
    :param running: the apps that are to run.
    """
    every = dict.fromkeys(host for names in hosts.values() for host in names)
    local = frozenset({LOCALHOST, *(host for host in every if is_local(host))})
    without = {
        host: reason for host in every if host not in local and (reason := why_not_public(host))
    }
    wanted = dict.fromkeys(host for name in running for host in hosts[name])
    public = tuple(host for host in wanted if host not in local and host not in without)
    return Plan(hosts, public, local, without)
