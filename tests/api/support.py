"""A client for the API in memory."""

from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ood.api.site import Api
from ood.testing.controller import MemoryController
from ood.testing.desk import MemoryDesk

TOKEN = "test-token-0123456789"
BASE = "http://127.0.0.1:2016"


class Answer:
    """An answer as tests look at it."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return ", ".join(values) if values else None

    @property
    def value(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.value["error"]


class ApiCase(SynchronousTestCase):
    """Tests with an API over a controller in memory that knows one app."""

    def setUp(self) -> None:
        self.controller = MemoryController()
        self.successResultOf(self.controller.init("shop.example", {"cwd": "/srv/shop"}))
        self.controller.calls.clear()
        self.desk = MemoryDesk()
        self.api = Api(self.controller, TOKEN, certificates=self.desk)
        self.treq = StubTreq(self.api.root)

    def send(self, method: str, path: str, **options: Any) -> Deferred[Any]:
        headers = {"Authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        if "json" in options:
            headers["Content-Type"] = "application/json"
            options["data"] = json.dumps(options.pop("json")).encode()
        return self.treq.request(method, BASE + path, headers=headers, **options)

    def finish(self, sent: Deferred[Any]) -> Answer:
        self.treq.flush()
        response = self.successResultOf(sent)
        body = self.treq.content(response)
        self.treq.flush()
        return Answer(response.code, response.headers, self.successResultOf(body))

    def ask(self, method: str, path: str, **options: Any) -> Answer:
        return self.finish(self.send(method, path, **options))
