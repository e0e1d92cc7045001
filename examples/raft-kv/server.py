"""One member of a replicated key-value store, with an HTTP interface.

::

    python server.py --id a --listen 127.0.0.1:7001 --http 127.0.0.1:8001 \\
        --peer b=127.0.0.1:7002 --peer c=127.0.0.1:7003 --data /var/lib/kv-a --plaintext

    curl -X PUT --data hello http://127.0.0.1:8001/kv/greeting
    curl http://127.0.0.1:8002/kv/greeting

Any member takes reads and writes; both are linearizable.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import msgspec
from machine import KeyValue, encode
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from ood.clock import MonotonicClock
from ood.errors import OodError
from ood.raft import Node, Options, Policy, Settings
from ood.raft.events import Stopped
from ood.raft.log import WalPersistence
from ood.raft.stats import prometheus
from ood.raft.tcp import TcpTransport
from ood.raft.tls import TlsOptions


class Page(Resource):
    """Answers by a coroutine; errors become a status and one line of text."""

    isLeaf = True

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def render(self, request: Request) -> Any:
        """Start the answer."""
        answer = Deferred.fromCoroutine(self.answer(request))
        answer.addErrback(self.failed, request)
        answer.addCallback(self.finish, request)
        return NOT_DONE_YET

    async def answer(self, request: Request) -> bytes:
        """Return the body."""
        raise LookupError(request.path.decode())

    def failed(self, failure: Any, request: Request) -> bytes:
        """Say what went wrong."""
        error = failure.value
        status = error.http_status if isinstance(error, OodError) else 500
        request.setResponseCode(404 if isinstance(error, LookupError) else status)
        return f"{error}\n".encode()

    def finish(self, body: bytes, request: Request) -> None:
        """Send it, if somebody still listens."""
        if request.channel is not None:
            request.write(body)
            request.finish()


class KeyPage(Page):
    """``GET``, ``PUT``, ``DELETE /kv/<key>``."""

    async def answer(self, request: Request) -> bytes:
        """Read or write one key."""
        key = b"/".join(request.postpath).decode()
        if request.method == b"PUT":
            body = request.content.read().decode() if request.content else ""
            await self.node.command(encode(["put", key, body]))
            return b"ok\n"
        if request.method == b"DELETE":
            await self.node.command(encode(["delete", key]))
            return b"ok\n"
        await self.node.read()
        value = self.node.machine.values[key]  # type: ignore[attr-defined]
        return f"{value}\n".encode()


class StatusPage(Page):
    """``GET /status``: the node in figures, as JSON."""

    async def answer(self, request: Request) -> bytes:
        """Return them."""
        request.setHeader("content-type", "application/json")
        return msgspec.json.encode(self.node.stats()) + b"\n"


class MetricsPage(Page):
    """``GET /metrics``: for Prometheus."""

    async def answer(self, request: Request) -> bytes:
        """Return them."""
        request.setHeader("content-type", "text/plain; version=0.0.4")
        return prometheus(self.node.stats()).encode()


class MembersPage(Page):
    """``PUT /members/<address>`` joins, ``DELETE /members/<id>`` removes."""

    async def answer(self, request: Request) -> bytes:
        """Change the members."""
        what = b"/".join(request.postpath).decode()
        if request.method == b"PUT":
            return f"{await self.node.join(what)} is a member\n".encode()
        await self.node.leave(what)
        return f"{what} is no member any more\n".encode()


def site(node: Node) -> Site:
    """Return the HTTP interface."""
    root = Resource()
    for path, page in {
        b"kv": KeyPage,
        b"status": StatusPage,
        b"metrics": MetricsPage,
        b"members": MembersPage,
    }.items():
        root.putChild(path, page(node))
    return Site(root)


def arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--id", required=True)
    parser.add_argument("--cluster", default="kv")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    parser.add_argument("--http", metavar="HOST:PORT")
    parser.add_argument("--peer", action="append", default=[], metavar="ID=HOST:PORT")
    parser.add_argument("--join", action="store_true", help="wait to be joined by a member")
    parser.add_argument("--data", required=True, metavar="DIRECTORY")
    parser.add_argument("--tls", nargs=3, metavar=("CERTIFICATE", "KEY", "AUTHORITY"))
    parser.add_argument("--plaintext", action="store_true", help="no TLS: trust the network")
    parser.add_argument("--tick", type=float, default=0.05, metavar="SECONDS")
    parser.add_argument("--election-ticks", type=int, default=10)
    parser.add_argument("--snapshot-entries", type=int, default=100_000)
    return parser.parse_args()


def make_node(options: argparse.Namespace) -> Node:
    """Return the node that the command line describes."""
    tls = TlsOptions(*options.tls) if options.tls else None
    settings = Settings(
        core=Options(election_ticks=options.election_ticks),
        policy=Policy(tick_seconds=options.tick, snapshot_entries=options.snapshot_entries),
    )
    return Node(
        options.id,
        options.cluster,
        TcpTransport(reactor, tls, plaintext=options.plaintext),
        WalPersistence(options.data, reactor),  # type: ignore[arg-type]
        clock=MonotonicClock(reactor),  # type: ignore[arg-type]
        machine=KeyValue(),
        address=options.listen,
        peers=dict(peer.split("=", 1) for peer in options.peer),
        bootstrap=not options.join,
        settings=settings,
    )


async def run(options: argparse.Namespace) -> None:
    """Start the node and its HTTP interface."""
    node = make_node(options)
    node.subscribe(lambda event: ended(event, node))
    await node.start()
    if options.http:
        host, port = options.http.rsplit(":", 1)
        endpoint = serverFromString(reactor, f"tcp:{port}:interface={host}")
        await endpoint.listen(site(node))
    reactor.addSystemEventTrigger("before", "shutdown", node.stop)  # type: ignore[attr-defined]
    print(f"{node.id} listens at {node.address}", flush=True)


def ended(event: object, node: Node) -> None:
    """A node that stopped by itself ends the process: its disk failed."""
    if isinstance(event, Stopped) and event.reason:
        print(f"{node.id} stopped: {event.reason}", file=sys.stderr, flush=True)
        reactor.callLater(0, reactor.stop)  # type: ignore[attr-defined]


def main() -> None:
    """Run until a signal."""
    observer = textFileLogObserver(sys.stderr)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    started = Deferred.fromCoroutine(run(arguments()))

    def failed(failure: Any) -> None:
        print(f"error: {failure.value}", file=sys.stderr, flush=True)
        reactor.callLater(0, reactor.stop)  # type: ignore[attr-defined]

    started.addErrback(failed)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
