"""What is measured of apps and of the proxy, for ``/metrics``; ``docs/metrics.md`` lists it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ood.interfaces import Distribution, Measure
from ood.model.status import AppStatus, UpstreamStatus, WorkerStatus
from ood.proxy.context import Counters
from ood.proxy.tls.counters import TlsCounters
from ood.traffic.histogram import BOUNDS_MS
from ood.traffic.meter import Tally
from ood.traffic.traffic import HANDED, Traffic


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
                    "ood_worker_connections_dropped",
                    "Connections for which it had no file descriptor.",
                    worker.dropped,
                    labels,
                    total=True,
                ),
                Measure(
                    "ood_worker_restarts",
                    "Deaths after which it was replaced.",
                    worker.restarts,
                    labels,
                    total=True,
                ),
            ]
        for upstream in status.upstreams:
            measures += _upstream_measures(upstream, {**app, "upstream": upstream.address})
    return measures


def _upstream_measures(upstream: UpstreamStatus, labels: Mapping[str, str]) -> list[Measure]:
    online = upstream.state == "online"
    totals = {
        "ood_upstream_requests": ("Requests that it began to answer.", upstream.requests),
        "ood_upstream_failures": ("Requests lost, and connections not made.", upstream.failures),
    }
    return [
        Measure("ood_upstream_online", "1 if it gets requests.", online, labels),
        *(Measure(name, doc, value, labels, total=True) for name, (doc, value) in totals.items()),
    ]


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


def tls_measures(counters: TlsCounters) -> list[Measure]:
    """Return what was counted on the HTTPS port."""
    measures = [
        Measure("ood_tls_handshakes", "Complete handshakes.", count, {"version": word}, total=True)
        for word, count in sorted(counters.handshakes.items())
    ]
    measures += [
        Measure("ood_tls_refused", "Others, by the reason.", count, {"reason": word}, total=True)
        for word, count in sorted(counters.refused.items())
    ]
    doc = "Connections whose TLS the kernel does after the handshake."
    measures.append(Measure("ood_tls_kernel", doc, counters.sealed, {}, total=True))
    doc = "Connections whose TLS is the app's own."
    measures.append(Measure("ood_tls_passed_through", doc, counters.passed_through, {}, total=True))
    return measures


def traffic_measures(traffic: Traffic) -> list[Measure | Distribution]:
    """Return the numbers of every app's requests, by the way they took."""
    measures: list[Measure | Distribution] = []
    for entry in traffic.every():
        proxied = {"app": entry.app, "via": "proxied"}
        measures.append(Measure(IN_FLIGHT, IN_FLIGHT_DOC, entry.in_flight, proxied))
        for way, tally in sorted(entry.tallies.items()):
            labels = {"app": entry.app, "via": way}
            if way == HANDED:
                measures.append(Measure(IN_FLIGHT, IN_FLIGHT_DOC, tally.in_flight, labels))
            measures += _tally_measures(tally, labels)
    measures += [
        Measure("ood_access_log_lost", "Lines of access logs lost.", lost, {"app": app}, total=True)
        for app, lost in traffic.lost().items()
    ]
    return measures


IN_FLIGHT = "ood_http_requests_in_flight"
IN_FLIGHT_DOC = "Requests without a complete answer."


def _tally_measures(tally: Tally, labels: dict[str, str]) -> list[Measure | Distribution]:
    measures: list[Measure | Distribution] = [
        Measure(
            "ood_http_requests",
            "Requests answered.",
            tally.classes[digit],
            {**labels, "code": f"{digit}xx"},
            total=True,
        )
        for digit in range(1, 6)
    ]
    doc = "Bytes of answers."
    measures.append(Measure("ood_http_response_bytes", doc, tally.size, labels, total=True))
    bounds = [*(bound / 1000 for bound in BOUNDS_MS), math.inf]
    measures.append(
        Distribution(
            "ood_http_request_duration_seconds",
            "From a request's head to the end of its answer.",
            list(zip(bounds, tally.buckets, strict=True)),
            tally.seconds,
            labels,
        )
    )
    return measures
