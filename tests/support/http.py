"""A plain HTTP/1.1 client that connects to one place and asks for another."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANSWER_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as the JSON value it is."""
        return json.loads(self.body)


class Client:
    """One connection, kept alive; requests name any Host.

    :param port: where to connect to, on 127.0.0.1.
    :param host: the Host header unless a request says otherwise.
    """

    def __init__(self, port: int, host: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        self._connection.auto_open = 0  # a connection that was closed is a failure here
        self._connection.connect()
        self._host = host

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        host: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request and return its answer."""
        fields = {"Host": host or self._host, **(headers or {})}
        self._connection.request(method, path, body=body, headers=fields)
        response = self._connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())


def get(port: int, host: str, path: str = "/", **headers: str) -> Answer:
    """Ask once, on a connection of its own."""
    with Client(port, host) as client:
        return client.ask(path, headers={name.replace("_", "-"): v for name, v in headers.items()})
