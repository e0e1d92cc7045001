"""``/metrics``: what is measured, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families
from treq.testing import StubTreq
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from ood.api.guard import Mount, _is_from_here
from ood.api.metrics import MetricsResource, families, render
from ood.api.site import Api
from ood.interfaces import Distribution, Measure
from ood.measures import app_measures, proxy_measures, traffic_measures
from ood.model.status import AppStatus, UpstreamStatus, WorkerStatus
from ood.proxy.context import Counters
from ood.traffic.traffic import Traffic
from tests.api.support import TOKEN, ApiCase


def worker(instance: int, state: str, requests: int) -> WorkerStatus:
    return WorkerStatus(instance=instance, pid=1, state=state, requests=requests)


class MetricsTests(SynchronousTestCase):
    def parsed(self, measures: Sequence[Measure | Distribution]) -> dict[tuple[str, str], float]:
        """Return what Prometheus' own parser finds."""
        text = render(measures)[1].decode()
        return {
            (
                sample.name,
                ",".join(value for _, value in sorted(sample.labels.items())),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def test_text(self) -> None:
        """Totals end in _total; labels are quoted; one family a name."""
        measures = [
            Measure("ood_x", "X.", 3, {"app": 'a"b\n'}, total=True),
            Measure("ood_x", "X.", 4, {"app": "c"}, total=True),
            Measure("ood_y", "Y.", 1.5, {}),
        ]
        self.assertEqual(len(families(measures)), 2)
        self.assertEqual(
            self.parsed(measures),
            {("ood_x_total", 'a"b\n'): 3, ("ood_x_total", "c"): 4, ("ood_y", ""): 1.5},
        )

    def test_apps(self) -> None:
        """While a worker replaces another one, each number is there once."""
        status = AppStatus(
            name="shop",
            state="online",
            running=True,
            wanted=2,
            port=3001,
            user="",
            workers=(worker(0, "draining", 9), worker(0, "online", 1), worker(1, "launching", 0)),
        )
        found = self.parsed(app_measures([status]))
        self.assertEqual(found["ood_app_workers_online", "shop"], 1)
        self.assertEqual(found["ood_app_workers_wanted", "shop"], 2)
        self.assertEqual(found["ood_worker_requests_total", "shop,0"], 1)

    def test_upstreams(self) -> None:
        """Servers elsewhere are told of one by one."""
        upstreams = (
            UpstreamStatus(address="a:1", state="online", requests=5),
            UpstreamStatus(address="b:1", state="errored", failures=2),
        )
        status = AppStatus(
            name="api", state="online", running=True, wanted=0, port=3001, user="",
            type="proxy", upstreams=upstreams,
        )  # fmt: skip
        found = self.parsed(app_measures([status]))
        self.assertEqual(found["ood_upstream_online", "api,a:1"], 1)
        self.assertEqual(found["ood_upstream_online", "api,b:1"], 0)
        self.assertEqual(found["ood_upstream_requests_total", "api,a:1"], 5)
        self.assertEqual(found["ood_upstream_failures_total", "api,b:1"], 2)

    def test_proxy(self) -> None:
        """Each status is a series."""
        counters = Counters()
        counters.handed_off = 5
        counters.statuses.update({200: 2, 404: 1})
        found = self.parsed(proxy_measures(counters))
        self.assertEqual(found["ood_http_handed_off_total", ""], 5)
        self.assertEqual(found["ood_http_proxied_responses_total", "404"], 1)

    def test_traffic(self) -> None:
        """Requests by app, way and status; durations as Prometheus' histograms add them up."""
        clock = Clock()
        traffic = Traffic(clock)
        shop = traffic.of("shop")
        shop.in_flight = 2
        for milliseconds, status in ((0.4, 200), (3, 204), (30, 503), (20_000, 200)):
            shop.tally("pipe").count(clock.seconds(), status, milliseconds / 1000, 100)
        shop.tally("handoff").in_flight = 7
        found = self.parsed(traffic_measures(traffic))
        self.assertEqual(found["ood_http_requests_total", "shop,2xx,pipe"], 3)
        self.assertEqual(found["ood_http_requests_total", "shop,5xx,pipe"], 1)
        self.assertEqual(found["ood_http_response_bytes_total", "shop,pipe"], 400)
        self.assertEqual(found["ood_http_requests_in_flight", "shop,proxied"], 2)
        self.assertEqual(found["ood_http_requests_in_flight", "shop,handoff"], 7)
        name = "ood_http_request_duration_seconds"
        buckets = {"0.0005": 1, "0.0025": 1, "0.005": 2, "0.05": 3, "10.0": 3, "+Inf": 4}
        for bound, count in buckets.items():
            self.assertEqual(found[f"{name}_bucket", f"shop,{bound},pipe"], count, bound)
        self.assertEqual(found[f"{name}_count", "shop,pipe"], 4)
        self.assertAlmostEqual(found[f"{name}_sum", "shop,pipe"], 20.0334)


class AccessTests(ApiCase):
    """Who may scrape."""

    def setUp(self) -> None:
        super().setUp()
        self.open = False

        async def collect() -> list[Measure]:
            return [Measure("ood_x", "X.", 1, {})]

        mount = Mount(MetricsResource(collect), is_open=lambda: self.open)
        self.api = Api(self.controller, TOKEN, {"metrics": mount})

    def scrape(self, token: bool, host: str = "127.0.0.1:2016") -> int:
        self.treq = StubTreq(self.api.root)
        options = {} if token else {"Authorization": None}
        return self.ask("GET", "/metrics", headers={**options, "Host": host}).status

    def test_token(self) -> None:
        """The token is asked for, unless the setting says otherwise."""
        self.assertEqual((self.scrape(False), self.scrape(True)), (401, 200))
        self.open = True
        self.assertEqual((self.scrape(False), self.scrape(True)), (200, 200))
        self.assertEqual(self.scrape(False, "evil.example"), 403)
        self.assertEqual(
            self.ask("GET", "/api/v1/apps", headers={"Authorization": None}).status, 401
        )

    def test_passed_on(self) -> None:
        """What a proxy on this machine passes on needs the token."""
        self.open = True
        for name in ("X-Forwarded-For", "Forwarded", "Via"):
            headers = {"Authorization": None, "Host": "127.0.0.1:2016", name: "203.0.113.9"}
            self.assertEqual(self.scrape(False), 200)
            self.assertEqual(self.ask("GET", "/metrics", headers=headers).status, 401, name)

    def test_not_from_elsewhere(self) -> None:
        """Only loopback is loopback."""
        for address, here in (("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("", False)):
            request = DummyRequest([])
            request.client = IPv4Address("TCP", address, 1)
            request.isSecure = lambda: False
            request.getClientAddress = lambda request=request: request.client
            self.assertEqual(_is_from_here(request), here, address)
