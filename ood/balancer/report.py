"""What the balancer does and carries, in words and numbers for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from ood.balancer.core.health import Health
from ood.balancer.core.plan import (
    AddServer,
    AddService,
    EditServer,
    EditService,
    RemoveServer,
    RemoveService,
    Step,
)
from ood.balancer.core.state import (
    PROTOCOLS,
    Actual,
    ActualServer,
    ServerKey,
    Traffic,
    VirtualKey,
    server_key,
    server_settings,
    virtual_key,
)
from ood.interfaces import Measure
from ood.model.services import Server, Service

_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}


def place(address: bytes, port: int) -> str:
    """Return an address and port as people write them."""
    host = str(ip_address(address))
    return f"[{host}]:{port}" if len(address) == 16 else f"{host}:{port}"


def describe_service(key: VirtualKey) -> str:
    """Return a service as people call it."""
    if key.mark:
        return f"firewall mark {key.mark}"
    protocol = _PROTOCOL_NAMES.get(key.protocol, str(key.protocol))
    return f"{protocol} {place(key.address, key.port)}"


def describe(step: Step) -> str:
    """Return a step as a clause."""
    service = describe_service(step.service)
    match step:
        case AddService(_, settings):
            return f"add {service} ({settings.scheduler})"
        case EditService(_, settings):
            return f"change {service} ({settings.scheduler})"
        case RemoveService():
            return f"remove {service}"
        case AddServer(_, server, server_settings):
            return f"add {_server(server)} (weight {server_settings.weight}) to {service}"
        case EditServer(_, server, server_settings):
            return f"change {_server(server)} (weight {server_settings.weight}) of {service}"
        case RemoveServer(_, server):
            return f"remove {_server(server)} from {service}"


def _server(key: ServerKey) -> str:
    return place(key.address, key.port)


def service_statistics(
    services: tuple[Service, ...],
    actual: Actual,
    health: Callable[[str, str], Health | None],
) -> dict[str, dict[str, object]]:
    """Return what each service carries, by its id; each has its ``servers`` by id."""
    answer: dict[str, dict[str, object]] = {}
    for service in services:
        standing = actual.get(virtual_key(service))
        servers = {
            server.id: _server_statistics(
                server,
                standing.servers.get(server_key(server)) if standing else None,
                health(service.id, server.id),
            )
            for server in service.servers
        }
        traffic = standing.traffic if standing else Traffic()
        answer[service.id] = {
            "applied": standing is not None,
            **traffic._asdict(),
            "servers": servers,
        }
    return answer


_MEASURED = {
    "connections": "Connections that were begun.",
    "packets_in": "Packets from clients.",
    "packets_out": "Packets to clients.",
    "bytes_in": "Bytes from clients.",
    "bytes_out": "Bytes to clients.",
}


def service_measures(statistics: Mapping[str, Mapping[str, Any]]) -> list[Measure]:
    """Return the totals of services and servers, and which servers are in use."""
    measures = []
    for service, of_service in statistics.items():
        rows = [("service", of_service, {"service": service})]
        servers: Mapping[str, Mapping[str, Any]] = of_service["servers"]
        rows += [
            ("server", numbers, {"service": service, "server": server})
            for server, numbers in servers.items()
        ]
        for kind, numbers, labels in rows:
            measures += [
                Measure(f"ood_l4_{kind}_{key}", doc, numbers[key], labels, total=True)
                for key, doc in _MEASURED.items()
            ]
        measures += [
            Measure("ood_l4_server_weight", "Weight in use.", numbers["weight_in_use"], labels)
            for kind, numbers, labels in rows
            if kind == "server"
        ]
    return measures


def _server_statistics(
    server: Server, standing: ActualServer | None, health: Health | None
) -> dict[str, object]:
    numbers = standing or ActualServer(server_settings(server, quiesced=True))
    answer: dict[str, object] = {
        "applied": standing is not None,
        "weight_in_use": numbers.settings.weight,
        **numbers.counts._asdict(),
        **numbers.traffic._asdict(),
    }
    if health is not None:
        answer["up"] = health.up
        answer["check"] = health.reason or "ok"
    return answer
