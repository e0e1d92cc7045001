"""Two parsers that are not ours, and a proxy whose backends they judge.

What reaches a backend must be the same requests for h11 and for Node.  A request that
is cut off is harmless only if its connection is closed then: otherwise the next
request's bytes would be taken for its rest.
"""

from __future__ import annotations

import atexit
import base64
import functools
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import h11
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IAddress
from twisted.trial.unittest import SkipTest

from ood.model.document import App, Document
from tests.proxy.support import LOOPBACK, ProxyTestCase, Server, Wire
from tests.support.ports import free_port

SCRIPT = Path(__file__).with_name("parser.cjs")
HEAD_BYTES_MAX = 65_536
QUIET_TURNS = 3
"""Times that the reactor is let run without anything new before a case counts as at rest."""
REST_SECONDS = 80
"""Longer than every deadline of the proxy."""
ATTACKER = b"%b / HTTP/1.1\r\nHost: site.localhost\r\n\r\n"
BYSTANDER = b"GET /bystander HTTP/1.1\r\nHost: site.localhost\r\n\r\n"
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\x00")
OK_AT_THE_END = frozenset((None, "HPE_INVALID_EOF_STATE", "ECONNRESET"))
"""Errors by which Node says only that there was no more."""


class Told(NamedTuple):
    """A request as a parser tells it; one that was cut off has no body."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: str | None
    trailers: tuple[tuple[str, str], ...]


class NodeParser:
    """A Node process that parses bytes as any server of its kind does."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            raise SkipTest("there is no node")
        self._directory = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [node, str(SCRIPT), f"{self._directory.name}/s"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.methods = frozenset(self._read())

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def parse(self, raw: bytes) -> tuple[list[Told], str | None]:
        """Return the requests in ``raw``, and Node's error."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"raw": base64.b64encode(raw).decode()}) + "\n")
        self._process.stdin.flush()
        record = self._read()
        return [self._told(**one) for one in record["requests"]], record["error"]

    @staticmethod
    def _told(
        method: str,
        url: str,
        headers: list[str],
        complete: bool,
        body: str | None = None,
        trailers: Sequence[str] = (),
    ) -> Told:
        assert complete == (body is not None)
        return Told(method, url, _pairs(headers), body, _pairs(trailers))

    def stop(self) -> None:
        """End it."""
        self._process.communicate(timeout=10)
        self._directory.cleanup()


@functools.cache
def node_parser() -> NodeParser:
    """Return the one for this run of tests."""
    parser = NodeParser()
    atexit.register(parser.stop)
    return parser


def _pairs(flat: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.lower(), value) for name, value in zip(flat[::2], flat[1::2], strict=True))


class Judge(Wire):
    """A backend's connection that is answered as h11 understands it.

    :ivar raw: everything that came.
    :ivar told: the requests, as h11 tells them.
    :ivar problem: why h11 refused what came.
    """

    def __init__(self, *, early: bool) -> None:
        super().__init__()
        self.raw = b""
        self.told: list[Told] = []
        self.problem: str | None = None
        self._early = early
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._request: h11.Request | None = None
        self._body = b""

    @property
    def open(self) -> bool:
        """Whether a request was begun and not ended, its head perhaps."""
        return self._request is not None or bool(self._h11.trailing_data[0])

    def dataReceived(self, data: bytes) -> None:
        self.raw += data
        if self.problem is None:
            try:
                self._h11.receive_data(data)
                self._events()
            except h11.RemoteProtocolError as error:
                self.problem = str(error)
        super().dataReceived(data)

    def _events(self) -> None:
        while (event := self._h11.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self._request, self._body = event, b""
                if self._early:
                    self._answer(event)
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._complete(event)

    def _complete(self, end: h11.EndOfMessage) -> None:
        assert self._request is not None
        request, self._request = self._request, None
        self.told.append(_from_h11(request, self._body, end.headers))
        if not self._early:
            self._answer(request)
        self._h11.start_next_cycle()

    def _answer(self, request: h11.Request) -> None:
        head = request.method == b"HEAD"
        self.send(self._h11.send(h11.Response(status_code=200, headers=[("Content-Length", "2")])))
        if not head:
            self.send(self._h11.send(h11.Data(data=b"ok")))
        self._h11.send(h11.EndOfMessage())

    def unfinished(self) -> Told | None:
        """Return the request whose body did not end, if there is one."""
        return None if self._request is None else _from_h11(self._request, None, [])


def _from_h11(request: h11.Request, body: bytes | None, trailers: Any) -> Told:
    return Told(
        request.method.decode("latin-1"),
        request.target.decode("latin-1"),
        _texts(request.headers),
        None if body is None else hashlib.sha1(body).hexdigest(),
        _texts(trailers),
    )


def _texts(pairs: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)


class JudgingServer(Server):
    """A backend that keeps all its connections.

    :ivar judges: the connections.
    :ivar early: answers are sent before the request's body has come.
    """

    def __init__(self) -> None:
        super().__init__()
        self.judges: list[Judge] = []
        self.early = False

    def buildProtocol(self, addr: IAddress | None) -> Wire:
        judge = Judge(early=self.early)
        self.judges.append(judge)
        return judge


def at_once(one: Wire, first: bytes, other: Wire, second: bytes) -> None:
    """Send on two connections, in this order, without letting the reactor run."""
    for wire, data in ((one, first), (other, second)):
        wire.transport.socket.send(data)  # type: ignore[union-attr]


class OracleTestCase(ProxyTestCase):
    """A proxy between any client and backends that are judged.

    :cvar keys: of the app ``site``.
    """

    timeout = 3600
    keys: Mapping[str, Any] = MappingProxyType({})

    def setUp(self) -> None:
        self.node = node_parser()
        super().setUp()
        app = App(cwd="/", port=self.ports["site"], **self.keys)
        # with another app, not every Host is the one site's
        apps = {"site": app, "other": App(cwd="/", port=free_port())}
        self.proxy.converge(Document(apps=apps))

    def make_backend(self) -> Server:
        self.judging = JudgingServer()
        return self.judging

    def begin(self, *, early: bool = False) -> None:
        """Begin a case: the connections of those before are no more of interest."""
        self.judging.judges = []
        self.judging.early = early

    def moved(self) -> int:
        """Return a number that grows when something reaches a backend."""
        return sum(len(one.raw) for one in self.judging.judges)

    async def connected(self) -> Wire:
        """Return a new client."""
        endpoint = TCP4ClientEndpoint(reactor, LOOPBACK, self.port)
        return await connectProtocol(endpoint, Wire())

    async def at_rest(self, client: Wire) -> None:
        """Wait until nothing moves any more."""
        quiet, before = 0, -1
        while quiet < QUIET_TURNS:
            await self.settle()
            now = len(client.data) + self.moved()
            quiet = quiet + 1 if now == before else 0
            before = now

    def pass_time(self) -> None:
        """Let five seconds pass, in steps as coarse as the proxy's own."""
        self.clock.pump([0.5] * 10)

    async def finish(self, client: Wire) -> None:
        """Let time pass until the client's connection ended, or was idle for long."""
        await self.at_rest(client)
        for _ in range(REST_SECONDS // 5):
            if client.over:
                break
            self.pass_time()
            await self.settle()
        if not client.over:
            client.abort()
        await self.at_rest(client)
        self.pass_time()  # what is idle now is not for the next case
        await self.settle()

    async def bystander(self) -> bytes:
        """Have somebody else ask meanwhile; return the answer."""
        client = await self.connected()
        client.send(BYSTANDER)
        await self.at_rest(client)
        client.abort()
        return bytes(client.data)

    def judged(self) -> list[Told]:
        """Return the requests that reached the app, once both parsers agree about them.

        That of the bystander must be among them as it was sent, and is left out.
        """
        found = []
        for judge in self.judging.judges:
            found += self._agreed(judge)
        others = [one for one in found if one.url != "/bystander"]
        assert len(others) == len(found) - 1, f"the bystander's request is not among {found}"
        return others

    def _agreed(self, judge: Judge) -> list[Told]:
        raw = judge.raw
        assert judge.problem is None, f"h11 refuses {raw!r}: {judge.problem}"
        assert not judge.open or judge.over, f"cut off, and the connection stays: {raw!r}"
        told = list(judge.told)
        unfinished = judge.unfinished()
        if unfinished is not None:
            told.append(unfinished)
        by_node, error = self.node.parse(raw)
        unknown = [one.method not in self.node.methods for one in told]
        if error in ("HPE_INVALID_METHOD", "HPE_INVALID_CONSTANT") and True in unknown:
            told = told[: unknown.index(True)]
            error = None
        assert error in OK_AT_THE_END, f"Node refuses {raw!r}: {error}"
        assert by_node == told, f"Node reads {by_node}\nh11 reads {told}\nof {raw!r}"
        for one in re.findall(rb"(?s)(?:\A|\r\n)([A-Z]+ [^\r\n]* HTTP/1\.1\r\n.*?)\r\n\r\n", raw):
            assert not _BARE.search(one), f"a bare line end or NUL in {one!r}"
        return judge.told
