"""The OpenAPI document is well formed, complete and true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from treq.testing import StubTreq

from ood.api.guard import Mount
from ood.api.layer4 import ROUTES
from ood.api.openapi import openapi_document
from ood.api.operations import OPERATIONS
from ood.api.site import Api
from ood.balancer.routes import layer4_resource
from ood.model.schema import APP_KEYS, SETTINGS_KEYS
from tests.api.support import TOKEN, ApiCase
from tests.balancer.test_routes import Memory


def references(value: Any) -> Iterator[str]:
    """Yield every $ref below ``value``."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


class DocumentTests(ApiCase):
    """What the document says is what the API does."""

    def test_served(self) -> None:
        """The document is what /openapi.json answers with."""
        served = self.ask("GET", "/openapi.json").value
        self.assertEqual(served, json.loads(json.dumps(openapi_document())))
        self.assertEqual(served["openapi"], "3.1.0")

    def test_references(self) -> None:
        """Every reference leads somewhere, and every schema is used."""
        document = openapi_document()
        schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        self.assertEqual(set(references(document)), schemas)

    def test_complete(self) -> None:
        """Every operation and every key is described."""
        document = openapi_document()
        found = {
            operation["operationId"]
            for path in document["paths"].values()
            for operation in path.values()
        }
        own = {operation.name for operation in OPERATIONS}
        self.assertEqual(found, own | {name for name, *_ in ROUTES} | {"read_metrics"})
        self.assertEqual(len(own) + len(ROUTES) + 1, len(found))
        schemas = document["components"]["schemas"]
        self.assertEqual(set(schemas["App"]["properties"]), set(APP_KEYS))
        self.assertEqual(set(schemas["Settings"]["properties"]), set(SETTINGS_KEYS))
        self.assertNotIn("running", schemas["AppChanges"]["properties"])
        for name in ("AppStatus", "WorkerStatus", "LogLine"):
            self.assertNotIn(":ivar", schemas[name]["description"])
        described = schemas["WorkerStatus"]["properties"]["uptimeMs"]["description"]
        self.assertEqual(described, "milliseconds since it was started.")

    def test_answers_match(self) -> None:
        """What routes answer has the properties that the document promises, and no others."""
        self.ask("POST", "/api/v1/apps/shop.example/start")
        self.controller.log("shop.example", "hello")
        schemas = openapi_document()["components"]["schemas"]
        for path, name in (
            ("/api/v1/apps", "AppList"),
            ("/api/v1/apps/shop.example", "AppStatus"),
            ("/api/v1/apps/shop.example/config", "App"),
            ("/api/v1/apps/shop.example/log", "Log"),
            ("/api/v1/apps/shop.example/releases", "ReleaseList"),
            ("/api/v1/settings", "Settings"),
            ("/api/v1/version", "Version"),
            ("/api/v1/health", "Health"),
        ):
            self.assertEqual(set(self.ask("GET", path).value), set(schemas[name]["properties"]))
        error = self.ask("GET", "/nothing").error
        inner = schemas["Error"]["properties"]["error"]
        self.assertEqual(set(error), set(inner["required"]))

    def test_balancer(self) -> None:
        """Each of the balancer's routes is there, and answers as it is described."""
        mount = Mount(layer4_resource(Memory(), TOKEN), checks_token=True)
        self.treq = StubTreq(Api(self.controller, TOKEN, {"services": mount}).root)
        server = {"host": "10.0.1.1", "port": 80}
        service = {"host": "10.0.0.1", "port": 80, "servers": [server]}
        bodies = {"L4Service": service, "[L4Service]": [service], "L4Server": server}
        schemas = openapi_document()["components"]["schemas"]
        for name, method, path, _, body, answer in sorted(ROUTES, key=lambda route: route[1]):
            where = path.format(service="tcp-10_0_0_1-80", server="10_0_1_1-80")
            if name.startswith("get"):
                where += "?statistics=true"
            options = {"json": bodies.get(body, [server])} if body else {}
            self.ask("PUT", "/services", json=[service])
            asked = self.ask(method.upper(), where, **options)
            self.assertEqual(asked.status, 200, (name, asked.body))
            value = asked.value[0] if answer.startswith("[") else asked.value
            self.assertLessEqual(set(value), set(schemas[answer.strip("[]")]["properties"]), name)
