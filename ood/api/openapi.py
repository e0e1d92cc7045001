"""The OpenAPI document, made of the operations and the model's tables."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import ood
from ood.api.layer4 import layer4_paths, layer4_schemas, layer4_security
from ood.api.operations import OPERATIONS, Operation
from ood.api.schemas import Schema, reference, schemas
from ood.api.types import JSON_TYPE, LINES_TYPE


def _content(operation: Operation) -> Schema:
    content: Schema = {JSON_TYPE: {"schema": reference(operation.answer)}}
    if operation.name == "read_log":
        content[LINES_TYPE] = {"schema": reference("LogLine")}
    if operation.media:
        return {operation.media: {"schema": reference(operation.answer)}}
    if operation.lines:
        return {LINES_TYPE: content[JSON_TYPE]}
    return content


def _responses(operation: Operation) -> Schema:
    answer: Schema = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer:
        answer["content"] = _content(operation)
    statuses = {*operation.errors, 400, 403, 413, 500} | (set() if operation.public else {401})
    if operation.method not in {"GET", "HEAD"}:
        statuses.add(503)
    refusals = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {JSON_TYPE: {"schema": reference("Error")}},
        }
        for status in sorted(statuses)
    }
    return {str(operation.status): answer, **refusals}


def _parameters(operation: Operation) -> list[Schema]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    parameters += [
        {"name": query.name, "in": "query", "description": query.doc, "schema": query.schema}
        for query in operation.query
    ]
    return parameters


def _operation(operation: Operation) -> Schema:
    described: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.body:
        content = {JSON_TYPE: {"schema": reference(operation.body)}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.public:
        described["security"] = []
    return described


def _metrics_paths() -> Schema:
    """Return what is said about ``/metrics``."""
    error = {JSON_TYPE: {"schema": reference("Error")}}
    refusals = {
        str(status): {"description": HTTPStatus(status).phrase, "content": error}
        for status in (400, 401, 403, 413, 500)
    }
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/metrics": {
            "get": {
                "operationId": "read_metrics",
                "summary": "What ood measures, in Prometheus' text format; without the token, if "
                "the setting metricsAccess says so, on this machine.",
                "parameters": [],
                "responses": {"200": {"description": "OK", "content": text}, **refusals},
                "security": [{"token": []}, {}],
            }
        }
    }


@lru_cache(maxsize=1)
def openapi_document() -> dict[str, Any]:
    """Return the document that describes every route as it is."""
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ood",
            "version": ood.__version__,
            "description": "Runs Node.js sites: the API behind the ood command. It listens on "
            "loopback only. Host must name it, and the token is in the file api-token of its home.",
        },
        "paths": {**paths, **_metrics_paths(), **layer4_paths()},
        "components": {
            "schemas": {**schemas(), **layer4_schemas()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                **layer4_security(),
            },
        },
        "security": [{"token": []}],
    }
