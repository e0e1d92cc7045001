"""``/metrics``: what ood measures, in Prometheus' text format.

Nothing is collected before somebody asks, and the client library is only loaded
then: most installations are not scraped, and its 3 MB count in a small service.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from ood.api.problems import InternalError, MethodError, WebRequest, refuse
from ood.interfaces import Distribution, Measure

if TYPE_CHECKING:
    from prometheus_client import Metric

Measured = Measure | Distribution
Collect = Callable[[], Awaitable[Sequence[Measured]]]

_log = Logger(namespace="ood.api")


def families(measures: Iterable[Measured]) -> list[Metric]:
    """Return ``measures`` as Prometheus' families, one for each name."""
    from prometheus_client.core import (  # noqa: PLC0415 - see the module's docstring
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    found: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    histograms: dict[str, HistogramMetricFamily] = {}
    for measure in measures:
        if isinstance(measure, Distribution):
            name = measure.name
            if name not in histograms:
                labels = list(measure.labels)
                histograms[name] = HistogramMetricFamily(name, measure.doc, labels=labels)
            values = list(measure.labels.values())
            histograms[name].add_metric(values, _cumulative(measure), measure.total)
            continue
        family = found.get(measure.name)
        if family is None:
            kind = CounterMetricFamily if measure.total else GaugeMetricFamily
            family = kind(measure.name, measure.doc, labels=list(measure.labels))
            found[measure.name] = family
        family.add_metric(list(measure.labels.values()), measure.value)
    return [*found.values(), *histograms.values()]


def _cumulative(measure: Distribution) -> list[tuple[str, int]]:
    """Return the buckets as Prometheus has them: each with all below it."""
    count = 0
    buckets = []
    for bound, number in measure.buckets:
        count += number
        buckets.append(("+Inf" if bound == math.inf else repr(bound), count))
    return buckets


def render(measures: Iterable[Measured]) -> tuple[str, bytes]:
    """Return media type and body of an answer."""
    from prometheus_client import (  # noqa: PLC0415 - see the module's docstring
        CONTENT_TYPE_LATEST,
        CollectorRegistry,
        generate_latest,
    )

    class Collected:
        def collect(self) -> list[Metric]:
            return families(measures)

    registry = CollectorRegistry()
    registry.register(Collected())
    return CONTENT_TYPE_LATEST, generate_latest(registry)


@implementer(IResource)
class MetricsResource:
    """Answers a scrape.

    :param collect: returns everything that is measured now.
    """

    isLeaf = True

    def __init__(self, collect: Collect) -> None:
        self._collect = collect

    def getChildWithDefault(self, name: bytes, request: WebRequest) -> IResource:
        """Never called: a leaf has nothing below it."""
        raise AssertionError(name, request)

    def putChild(self, path: bytes, child: IResource) -> None:
        """Refuse: there is nothing below."""
        raise ValueError(path, child)

    def render(self, request: WebRequest) -> Any:
        """Collect, and answer then."""
        if request.method not in {b"GET", b"HEAD"}:
            return refuse(request, MethodError("/metrics is only read", ("GET", "HEAD")))
        gone: list[Failure] = []
        _ = request.notifyFinish().addErrback(gone.append)
        answer = Deferred.fromCoroutine(self._answer(request))

        def send(body: bytes) -> None:
            if not gone:
                request.write(body)
                request.finish()

        _ = answer.addErrback(_failed, request).addCallback(send)
        return NOT_DONE_YET

    async def _answer(self, request: WebRequest) -> bytes:
        media_type, body = render(await self._collect())
        request.setHeader(b"Content-Type", media_type.encode())
        return body


def _failed(failure: Failure, request: WebRequest) -> bytes:
    _log.failure("/metrics failed", failure=failure)
    return refuse(request, InternalError("ood failed", "its log says how; please report it"))
