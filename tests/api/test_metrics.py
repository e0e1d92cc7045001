"""``/metrics``: what is measured, in the form that Prometheus reads."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from treq.testing import StubTreq
from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from ood.api.guard import Mount, _is_from_here
from ood.api.metrics import MetricsResource, families, render
from ood.api.site import Api
from ood.interfaces import Measure
from ood.measures import app_measures, proxy_measures
from ood.model.status import AppStatus, WorkerStatus
from ood.proxy.context import Counters
from tests.api.support import TOKEN, ApiCase


def worker(instance: int, state: str, requests: int) -> WorkerStatus:
    return WorkerStatus(instance=instance, pid=1, state=state, requests=requests)


class MetricsTests(SynchronousTestCase):
    def parsed(self, measures: list[Measure]) -> dict[tuple[str, str], float]:
        """Return what Prometheus' own parser finds."""
        text = render(measures)[1].decode()
        return {
            (sample.name, ",".join(sample.labels.values())): sample.value
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

    def test_proxy(self) -> None:
        """Each status is a series."""
        counters = Counters()
        counters.handed_off = 5
        counters.statuses.update({200: 2, 404: 1})
        found = self.parsed(proxy_measures(counters))
        self.assertEqual(found["ood_http_handed_off_total", ""], 5)
        self.assertEqual(found["ood_http_proxied_responses_total", "404"], 1)


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

    def test_not_from_elsewhere(self) -> None:
        """Only loopback is loopback."""
        for address, here in (("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("", False)):
            request = DummyRequest([])
            request.client = IPv4Address("TCP", address, 1)
            request.isSecure = lambda: False
            request.getClientAddress = lambda request=request: request.client
            self.assertEqual(_is_from_here(request), here, address)
