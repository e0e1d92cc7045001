"""Unmodified apps from npm under the real service, on every Node that ood promises."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.apps import installed, nodes
from tests.support.http import Client, get
from tests.support.ood import RunningOod, wait_until
from tests.support.websocket import BINARY, WebSocket

KEPT_ALIVE_REQUESTS = 20
WORDS_CHARACTERS = 10_000
"""60 kB as JSON: several reads, and within Express's limit of 100 kB."""
FRAME_BYTES = 70_000
"""More than fits a frame with a 16-bit length."""


class AppsOnNode20(SynchronousTestCase):
    """Each test runs a service of its own, and its end leaves nothing behind.

    :cvar major: the major version of Node.
    """

    major = 20

    def setUp(self) -> None:
        node = nodes().get(self.major)
        if node is None:
            raise SkipTest(f"Node {self.major} is not in OOD_TEST_NODES")
        self.node = node
        self.service = RunningOod(node)
        self.addCleanup(self.service.close)
        self.service.start()

    def started(self, name: str, *options: str) -> tuple[str, int]:
        """Add and start an app; return the host it answers to and its own port."""
        host = f"{name}.example"
        return host, self.service.add(host, installed(name), *options)

    def answers(self, name: str, *options: str) -> tuple[Mapping[str, Any], str, int]:
        """Check that the app answers by its Host and on its own port; return an answer."""
        host, port = self.started(name, *options)
        by_host = get(self.service.http_port, host)
        by_port = get(port, f"127.0.0.1:{port}")
        closing = get(self.service.http_port, host, Connection="close")
        for answer in (by_host, by_port, closing):
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual(answer.json()["app"], name)
        return by_host.json(), host, port

    def test_express(self) -> None:
        """Express: JSON in and out, its own error page, the environment PM2's users know."""
        answer, host, port = self.answers("express")
        self.assertIn(answer["ip"], ("127.0.0.1", "::ffff:127.0.0.1"))
        self.assertEqual(answer["host"], host)
        environment = get(self.service.http_port, host, "/env").json()
        self.assertEqual(environment["port"], str(port))
        self.assertEqual(environment["nodeEnv"], "production")
        self.assertEqual(environment["instance"], "0")
        self.assertEqual(get(self.service.http_port, host, "/boom").status, 500)
        with Client(self.service.http_port, host) as client:
            body = json.dumps({"words": "ä" * WORDS_CHARACTERS}).encode()
            echoed = client.ask(
                "/echo", method="POST", body=body, headers={"Content-Type": "application/json"}
            )
            self.assertEqual(echoed.json(), json.loads(body))

    def test_keep_alive(self) -> None:
        """A connection stays with its worker; connections are spread over the workers."""
        host, _ = self.started("express", "--instances", "2")
        pids: set[int] = set()
        for _ in range(8):
            with Client(self.service.http_port, host) as client:
                here = {client.ask().json()["pid"] for _ in range(KEPT_ALIVE_REQUESTS)}
            self.assertEqual(len(here), 1)
            pids |= here
        self.assertEqual(len(pids), 2)

    def test_other_host_on_a_kept_connection(self) -> None:
        """A request for another app's host on a kept connection reaches that other app."""
        koa, _ = self.started("koa")
        fastify, _ = self.started("fastify")
        with Client(self.service.http_port, koa) as client:
            names = [client.ask(host=host).json()["app"] for host in (koa, fastify, koa, fastify)]
        self.assertEqual(names, ["koa", "fastify", "koa", "fastify"])

    def test_fastify(self) -> None:
        """Fastify, which binds 127.0.0.1 only and sees the client's address."""
        answer, _, _ = self.answers("fastify")
        self.assertIn(answer["ip"], ("127.0.0.1", "::ffff:127.0.0.1"))

    def test_koa(self) -> None:
        """Koa."""
        self.answers("koa")

    def test_es_module(self) -> None:
        """An ES module that listens after a top-level await."""
        self.answers("esm")

    def test_npm_start(self) -> None:
        """Below npm, a shell and cross-env, found by ``ood init`` in package.json."""
        answer, _, _ = self.answers("npm-start")
        self.assertEqual(answer["greeting"], "hello")

    def test_npm_start_wait_ready(self) -> None:
        """``process.send('ready')`` counts below npm, too, where Node has no channel."""
        host = "npm-start.example"
        self.service.ood("init", host, "--cwd", str(installed("npm-start")))
        self.service.ood("config", "--app", host, "--set", "waitReady", "true")
        self.service.ood("start", host)
        self.assertEqual(get(self.service.http_port, host).status, 200)

    def test_two_apps_on_port_3000(self) -> None:
        """Two apps that both listen on 3000 run side by side, and neither takes the port."""
        self.answers("port-3000-one")
        self.answers("port-3000-two")

    def test_own_cluster(self) -> None:
        """An app that forks its own cluster: every process of it gets requests."""
        _, host, _ = self.answers("own-cluster")
        pids: set[int] = set()

        def both() -> bool:
            pids.add(get(self.service.http_port, host).json()["pid"])
            return len(pids) == 2

        wait_until(both, "both processes of the app's own cluster answer")

    def test_web_socket(self) -> None:
        """ws: text and large binary frames come back, by Host and on the app's own port."""
        _, host, port = self.answers("ws")
        for to, name in ((self.service.http_port, host), (port, f"localhost:{port}")):
            with WebSocket(to, name) as socket:
                self.assertEqual(socket.echo("grüße".encode()), "grüße".encode())
                frame = os.urandom(FRAME_BYTES)
                self.assertEqual(socket.echo(frame, BINARY), frame)

    def test_socket_io(self) -> None:
        """socket.io over a WebSocket, with its own client."""
        _, _, port = self.answers("socket.io")
        client: Path = installed("socket.io") / "client.js"
        spoken = subprocess.run(
            [self.node, str(client), f"http://127.0.0.1:{port}", f"127.0.0.1:{port}", "hello"],
            check=False,
            capture_output=True,
            text=True,
            timeout=90,
        )
        self.assertEqual(spoken.returncode, 0, spoken.stderr)
        self.assertEqual(json.loads(spoken.stdout)["text"], "hello")

    def test_restart_replaces_every_worker(self) -> None:
        """After ``ood restart`` other processes answer, and status shows them online."""
        host, _ = self.started("koa", "--instances", "2")
        before = {worker["pid"] for worker in self.workers(host)}
        self.service.ood("restart", host)
        workers = self.workers(host)
        self.assertEqual([worker["state"] for worker in workers], ["online", "online"])
        self.assertFalse(before & {worker["pid"] for worker in workers})

    def workers(self, host: str) -> list[dict[str, Any]]:
        """Return the workers that ``ood status`` shows."""
        workers: list[dict[str, Any]] = self.service.json("status", host)["workers"]
        return workers


class AppsOnNode22(AppsOnNode20):
    major = 22


class AppsOnNode24(AppsOnNode20):
    major = 24
