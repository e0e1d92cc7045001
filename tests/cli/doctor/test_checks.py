"""Each check says what is wrong with a machine, and what to do; every machine is a value."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from ood.cli.doctor import apps, machine, service
from ood.cli.doctor.checks import CHECKS, examine
from ood.cli.doctor.facts import (
    FAIL,
    OK,
    WARN,
    AppFacts,
    Facts,
    Listener,
    Owned,
    Room,
    Unit,
)
from ood.model.document import App, Document, Settings
from ood.model.services import Service
from ood.model.status import AppStatus, WorkerStatus
from ood.model.upstreams import UPSTREAMS

GB = 1 << 30
NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
INSTALLED = Unit(True, "active", "enabled")
SHOP = {"shop": App(cwd="/srv/shop", port=3001)}
HEALTHY = Facts(
    root=True,
    version="1.0",
    service_version="1.0",
    service_pids=(10, 11),
    node=("/usr/bin/node", "v20.1.0"),
    npm="/usr/bin/npm",
    ports={"httpPort": 80, "httpsPort": 443, "apiPort": 2016},
    listeners={80: Listener(10), 443: Listener(10), 2016: Listener(10)},
    rooms={"logs": Room(50 * GB, 100 * GB, 900, 1000)},
    open_files=1 << 20,
    owned={"api-token": Owned(0o600, "root", True)},
    ktls=True,
    ktls_at_boot=True,
    synchronised=True,
    unit=INSTALLED,
    now=NOON,
)


def a_document(apps: dict[str, App] | None = None, **settings: Any) -> Document:
    return Document(apps=apps or {}, settings=Settings(**settings))


def a_status(**values: Any) -> dict[str, Any]:
    known = {"name": "shop", "state": "online", "running": True, "wanted": 1, "port": 1}
    worker = WorkerStatus(instance=0, pid=1, state="online")
    status = AppStatus(**{**known, "user": "", "workers": (worker,), **values})
    plain: dict[str, Any] = msgspec.to_builtins(status)
    return plain


def a_certificate(**values: Any) -> dict[str, Any]:
    return {"name": "a.example", "state": "valid", "notAfter": None, "trouble": "", **values}


FROM_CA: Any = {"source": "acme", "apps": ("shop",)}
L4 = msgspec.structs.replace(Document(), services=(Service(host="10.0.0.1", port=80),))

UNVERIFIED = UPSTREAMS.parse("https://10.0.0.5 verify=false, https://10.0.0.6")
CASES: tuple[tuple[Any, dict[str, Any], str, str, str], ...] = (
    # check, what differs from a healthy machine, level, part of the text, part of the fix
    (machine.check_node, {"node": None}, WARN, "no node", "apt install nodejs"),
    (
        machine.check_node,
        {"node": None, "document": a_document(SHOP)},
        FAIL,
        "no node",
        "ood[node]",
    ),
    (machine.check_node, {"node": ("/n", "v16.9.1")}, WARN, "too old", "newer"),
    (machine.check_node, {"node": ("/n", "")}, WARN, "its version", "/n --version"),
    (machine.check_node, {}, OK, "Node v20.1.0", ""),
    (machine.check_npm, {"npm": ""}, WARN, "ood deploy", "apt install npm"),
    (
        machine.check_npm,
        {"npm": "", "document": a_document({"a": App(cwd="/", port=1, interpreter="npm")})},
        FAIL,
        "no npm",
        "apt install npm",
    ),
    (machine.check_kernel, {"ktls": False}, OK, "HTTPS works", ""),
    (
        machine.check_kernel,
        {"ktls": False, "statuses": (a_status(),)},
        WARN,
        "the kernel does no TLS",
        "modprobe tls",
    ),
    (
        machine.check_kernel,
        {"ktls_at_boot": False},
        WARN,
        "nothing loads its module tls at the next boot",
        "sudo ood install",
    ),
    (machine.check_kernel, {"ktls_at_boot": False, "unit": None}, OK, "can do TLS", ""),
    (machine.check_kernel, {"ip_vs": True}, OK, "IPVS", ""),
    (machine.check_kernel, {"document": L4}, WARN, "relays", "modprobe ip_vs"),
    (
        machine.check_kernel,
        {"document": msgspec.structs.replace(L4, settings=Settings(balancer_engine="ipvs"))},
        FAIL,
        "no IPVS",
        "modprobe ip_vs",
    ),
    (machine.check_disk, {"rooms": {"logs": Room(GB // 2, 4 * GB, 9, 9)}}, WARN, "512.0 MB", "rm"),
    (machine.check_disk, {"rooms": {"logs": Room(GB, 900 * GB, 9, 9)}}, FAIL, "1.0 GB", "room"),
    (machine.check_disk, {"rooms": {"logs": Room(9 << 20, GB, 9, 9)}}, FAIL, "9.0 MB", "room"),
    (machine.check_disk, {"rooms": {"logs": Room(50 * GB, 99 * GB, 1, 999)}}, FAIL, "1 more", ""),
    (machine.check_files, {"open_files": 1024}, FAIL, "1024 files", "ulimit -n"),
    (machine.check_files, {"open_files": 20_000}, WARN, "the service", "LimitNOFILE"),
    (machine.check_clock, {"synchronised": False}, WARN, "expired", "timedatectl set-ntp true"),
    (
        service.check_service,
        {"service_version": "", "service_fault": "ood is not running"},
        FAIL,
        "is not running",
        "systemctl start ood.service",
    ),
    (
        service.check_service,
        {"service_version": "", "service_fix": "start it: twistd", "unit": None},
        FAIL,
        "",
        "start it: twistd",
    ),
    (
        service.check_service,
        {"service_version": "", "forbidden": True, "service_fix": "run it as root"},
        WARN,
        "",
        "run it as root",
    ),
    (service.check_service, {"service_version": "0.9"}, WARN, "0.9 runs", "systemctl restart"),
    (service.check_unit, {"unit": Unit(False)}, WARN, "no service", "sudo ood install"),
    (
        service.check_unit,
        {"unit": Unit(True, "active", "disabled")},
        WARN,
        "disabled",
        "systemctl enable",
    ),
    (service.check_unit, {"unit": Unit(True, "failed", "enabled")}, FAIL, "failed", "journalctl"),
    (
        service.check_document,
        {"document": None, "document_fault": "x is damaged"},
        FAIL,
        "x is damaged",
        "versions",
    ),
    (service.check_document, {"document": None, "root": False}, WARN, "", "sudo ood doctor"),
    (
        service.check_rights,
        {"owned": {"api-token": Owned(0o644, "root", True)}},
        FAIL,
        "others may read /var/lib/ood/api-token (mode 644)",
        "chmod go-rwx",
    ),
    (service.check_rights, {"owned": {".": Owned(0o711, "root", True)}}, OK, "/var/lib/ood is", ""),
    (service.check_rights, {"owned": {".": Owned(0o777, "root", True)}}, FAIL, "change", "chmod"),
    (service.check_rights, {"owned": {"run": Owned(0o700, "eve", False)}}, WARN, "eve", "chown"),
    (
        service.check_ports,
        {"listeners": {**HEALTHY.listeners, 80: Listener(7, "nginx", "root")}},
        FAIL,
        "port 80 (httpPort) is held by nginx (process 7) of root",
        "ood config --set httpPort 8080",
    ),
    (
        service.check_ports,
        {"service_version": "", "listeners": {2016: Listener()}},
        FAIL,
        "port 2016 (apiPort) is held by another program",
        "apiPort 2017",
    ),
    (
        service.check_ports,
        {"listeners": {80: Listener(7, "nginx", "root"), 8080: Listener(8, "jetty", "root")}},
        FAIL,
        "port 80 (httpPort) is held by nginx",
        "ood config --set httpPort 8081",
    ),
    (
        service.check_ports,
        {
            "root": False,
            "user": "eve",
            "service_version": "",
            "listeners": {},
        },
        FAIL,
        "eve may not listen on port 80",
        "httpPort 8080",
    ),
    (
        service.check_ports,
        {"listeners": {2016: Listener(11), 443: Listener(10)}},
        WARN,
        "nobody listens on port 80",
        "systemctl restart",
    ),
    (
        service.check_privileges,
        {
            "root": False,
            "user": "eve",
            "document": a_document({"shop": App(cwd="/", port=1, user="www")}),
        },
        FAIL,
        "only root can run shop",
        "sudo ood install",
    ),
    (
        service.check_privileges,
        {"document": a_document(SHOP)},
        WARN,
        "shop runs as root",
        "config -a shop -s user",
    ),
    (
        service.check_certificates,
        {"certificates": (a_certificate(state="failed", trouble="no DNS"),)},
        FAIL,
        "is failed: no DNS",
        "ood cert show a.example",
    ),
    (
        service.check_certificates,
        {"certificates": (a_certificate(notAfter="2026-01-07T13:00:00Z"),)},
        WARN,
        "expires in 5 days",
        "ood cert show",
    ),
    (
        service.check_certificates,
        {"certificates": (a_certificate(notAfter="2026-03-02T13:00:00Z"),)},
        OK,
        "good for 59 days",
        "",
    ),
    (service.check_certificates, {"certificates": (a_certificate(),)}, WARN, "no certificate", ""),
    (
        service.check_certificates,
        {"certificates": (a_certificate(notAfter="2026-03-02T13:00:00Z", trouble="no key"),)},
        WARN,
        "good for 59 days: no key",
        "ood cert show",
    ),
    (
        service.check_certificates,
        {"certificates": (a_certificate(**FROM_CA, notAfter="2026-01-05T13:00:00Z"),)},
        OK,
        "good for 3 days",
        "",
    ),
    (
        service.check_certificates,
        {"certificates": (a_certificate(**{**FROM_CA, "state": "expired", "apps": ()}),)},
        OK,
        "no app needs the certificate of a.example any more: ood cert remove",
        "",
    ),
    (
        service.check_states,
        {"statuses": (a_status(state="errored"),)},
        FAIL,
        "shop is errored",
        "ood why shop",
    ),
    (
        service.check_states,
        {"statuses": (a_status(pending_restart=True),)},
        WARN,
        "older settings",
        "ood restart shop",
    ),
    (
        apps.check_apps,
        {"apps": {"shop": AppFacts("user www can't enter /srv", "give www the right")}},
        FAIL,
        "shop: user www can't enter /srv",
        "give www the right",
    ),
    (apps.check_apps, {"apps": {"shop": AppFacts()}}, OK, "can be started", ""),
    (apps.check_names, {"names": {"a.example": "unknown"}}, WARN, "does not resolve", "dig +short"),
    (
        apps.check_names,
        {"names": {"a.example": frozenset({"192.0.2.1"})}, "addresses": frozenset({"10.0.0.5"})},
        WARN,
        "leads to 192.0.2.1, not to this machine",
        "dig +short a.example",
    ),
    (
        apps.check_names,
        {
            "names": {"a.example": frozenset({"192.0.2.1", "10.0.0.5"})},
            "addresses": frozenset({"10.0.0.5"}),
        },
        WARN,
        "192.0.2.1, too",
        "dig",
    ),
    (
        apps.check_names,
        {"names": {"a.example": frozenset({"10.0.0.5"})}, "addresses": frozenset({"10.0.0.5"})},
        OK,
        "leads to this machine",
        "",
    ),
    (
        apps.check_stickiness,
        {
            "document": a_document({"chat": App(cwd="/", port=1, instances=4)}),
            "apps": {"chat": AppFacts(packages=frozenset({"socket.io"}))},
        },
        WARN,
        "chat uses socket.io with 4 workers",
        "ood config -a chat -s sticky cookie",
    ),
    (
        apps.check_upstreams,
        {"document": a_document({"api": App(type="proxy", port=1, upstreams=UNVERIFIED)})},
        WARN,
        "api: the certificate of https://10.0.0.5:443 is not verified",
        "caFile=PATH",
    ),
)


class CheckTests(SynchronousTestCase):
    """The table."""

    def test_each(self) -> None:
        """What a check says about a machine that differs in one point, the worst first."""
        order = (FAIL, WARN, OK)
        for check, changes, level, text, fix in CASES:
            facts = Facts(**{**vars(HEALTHY), **changes})
            found = sorted(check(facts), key=lambda one: order.index(one.level))
            about = (check.__name__, changes)
            self.assertTrue([one for one in found if text in one.text], (about, found))
            chosen = next(one for one in found if text in one.text)
            self.assertEqual(chosen.level, level, about)
            self.assertIn(fix, chosen.fix, about)

    def test_healthy(self) -> None:
        """A healthy machine has nothing but good findings."""
        self.assertEqual({one.level for one in examine(HEALTHY)}, {OK})

    def test_every_fault_has_a_fix(self) -> None:
        """Nobody is left alone with a fault, and no check is without a case."""
        for _, changes, *_ in CASES:
            for finding in examine(Facts(**{**vars(HEALTHY), **changes})):
                if finding.level == FAIL and finding.text:
                    self.assertTrue(finding.fix, finding)
        self.assertEqual({check for check, *_ in CASES}, set(CHECKS))

    def test_silent(self) -> None:
        """What does not concern a machine is not mentioned."""
        for check, changes in (
            (service.check_unit, {"unit": None}),
            (machine.check_clock, {"synchronised": None}),
            (machine.check_npm, {"npm": "", "node": None}),
            (
                apps.check_stickiness,
                {
                    "document": a_document({"chat": App(cwd="/", port=1)}),
                    "apps": {"chat": AppFacts(packages=frozenset({"socket.io"}))},
                },
            ),
            (
                apps.check_stickiness,
                {
                    "document": a_document(
                        {"chat": App(cwd="/", port=1, instances=4, sticky="ip")}
                    ),
                    "apps": {"chat": AppFacts(packages=frozenset({"socket.io"}))},
                },
            ),
            (service.check_states, {"statuses": (a_status(),)}),
        ):
            self.assertEqual(list(check(Facts(**{**vars(HEALTHY), **changes}))), [])
