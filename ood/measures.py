"""What is measured of apps and of the proxy, for ``/metrics``; ``docs/metrics.md`` lists it."""

from __future__ import annotations

from collections.abc import Iterable

from ood.interfaces import Measure
from ood.model.status import AppStatus, WorkerStatus
from ood.proxy.context import Counters


def app_measures(statuses: Iterable[AppStatus]) -> list[Measure]:
    """Return the numbers of every app and worker."""
    measures = []
    for status in statuses:
        app = {"app": status.name}
        online = sum(worker.state == "online" for worker in status.workers)
        wanted = status.wanted if status.running else 0
        measures += [
            Measure("ood_app_workers_online", "Workers that answer.", online, app),
            Measure("ood_app_workers_wanted", "Workers that are wanted.", wanted, app),
        ]
        for worker in _one_each(status.workers):
            labels = {**app, "instance": str(worker.instance)}
            measures += [
                Measure("ood_worker_cpu_percent", "Processor use.", worker.cpu_percent, labels),
                Measure("ood_worker_memory_bytes", "Memory.", worker.memory_bytes, labels),
                Measure(
                    "ood_worker_requests", "Requests answered.", worker.requests, labels, total=True
                ),
                Measure(
                    "ood_worker_restarts",
                    "Deaths after which it was replaced.",
                    worker.restarts,
                    labels,
                    total=True,
                ),
            ]
    return measures


def _one_each(workers: Iterable[WorkerStatus]) -> list[WorkerStatus]:
    """Return one worker of each number: while one replaces another, the one that answers."""
    chosen: dict[int, WorkerStatus] = {}
    for worker in workers:
        if worker.instance not in chosen or worker.state == "online":
            chosen[worker.instance] = worker
    return list(chosen.values())


def proxy_measures(counters: Counters) -> list[Measure]:
    """Return what the proxy has counted."""
    totals = {
        "connections": ("Client connections accepted.", counters.connections),
        "handed_off": ("Connections given to workers.", counters.handed_off),
        "proxied_requests": ("Requests forwarded.", counters.proxied),
        "tunnels": ("Proxied connections that became WebSockets.", counters.tunnels),
    }
    measures = [
        Measure(f"ood_http_{name}", doc, value, {}, total=True)
        for name, (doc, value) in totals.items()
    ]
    measures.append(
        Measure("ood_http_proxied_in_flight", "Requests in flight.", counters.in_flight, {})
    )
    measures += [
        Measure(
            "ood_http_proxied_responses",
            "Responses forwarded.",
            count,
            {"status": str(status)},
            total=True,
        )
        for status, count in sorted(counters.statuses.items())
    ]
    return measures
