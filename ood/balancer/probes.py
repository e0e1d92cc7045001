"""One probe of one server: TCP, HTTP or a script.  None is alive, a text says why not."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    ProcessDone,
    ProcessExitedAlready,
)
from twisted.internet.interfaces import (
    IReactorProcess,
    IReactorTCP,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.python.failure import Failure

from ood.model.services import Check, Server, Service

STATUS_LINE_BYTES = 256
"""A status line that is longer is not HTTP."""

SCRIPT_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


async def probe(
    reactor: object, clock: IReactorTime, service: Service, server: Server
) -> str | None:
    """Probe a server as its service's check says; return why it counts as dead, or None."""
    check = service.check
    assert check is not None
    attempt = Deferred.fromCoroutine(_attempt(reactor, check, service, server))
    _ = attempt.addTimeout(check.timeout, clock)
    try:
        return await attempt
    except TimeoutError:
        return f"no answer within {check.timeout:g} s"
    except ConnectionRefusedError:
        return "the connection was refused"
    except (ConnectError, OSError) as error:
        return str(error).rstrip(".")


async def _attempt(reactor: object, check: Check, service: Service, server: Server) -> str | None:
    if check.type == "script":
        return await run_script(cast(IReactorProcess, reactor), check, service, server)
    tcp = cast(IReactorTCP, reactor)
    port = check.port or server.port
    kind = TCP6ClientEndpoint if ":" in server.host else TCP4ClientEndpoint
    endpoint = kind(tcp, server.host, port, timeout=max(1, round(check.timeout)))
    if check.type == "tcp":
        _close(cast(Protocol, await endpoint.connect(Factory.forProtocol(Protocol))))
        return None
    client = cast(StatusProtocol, await endpoint.connect(Factory.forProtocol(StatusProtocol)))
    try:
        client.ask(check.path, check.host or _authority(server.host, port))
        line = await client.status
    finally:
        _close(client)
    return _judge(line, check.status)


def _close(protocol: Protocol) -> None:
    if protocol.transport is not None:
        protocol.transport.loseConnection()


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _judge(line: bytes, allowed: tuple[int, int]) -> str | None:
    words = line.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return "the answer is not HTTP"
    status = int(words[1])
    lowest, highest = allowed
    if lowest <= status <= highest:
        return None
    return f"status {status}, expected {lowest} to {highest}"


class StatusProtocol(Protocol):
    """Asks for a page and waits for the first line of the answer."""

    transport: ITransport

    def __init__(self) -> None:
        self.status: Deferred[bytes] = Deferred()
        self._received = b""

    def ask(self, path: str, authority: str) -> None:
        """Send the request."""
        lines = (f"GET {path} HTTP/1.0", f"Host: {authority}", "User-Agent: ood", "", "")
        self.transport.write("\r\n".join(lines).encode())

    def dataReceived(self, data: bytes) -> None:
        """Wait for the end of the line."""
        if self.status.called:
            return
        self._received += data
        line, end, _ = self._received.partition(b"\n")
        if end or len(line) > STATUS_LINE_BYTES:
            self.status.callback(line)

    def connectionLost(self, _reason: Failure | None = None) -> None:
        """Take what came as all there is."""
        if not self.status.called:
            self.status.callback(self._received)


async def run_script(
    reactor: IReactorProcess, check: Check, service: Service, server: Server
) -> str | None:
    """Run the check's command; it learns the server from its environment."""
    script = ScriptProtocol()
    environment = {
        **SCRIPT_ENVIRONMENT,
        "OOD_SERVICE": service.id,
        "OOD_SERVER_HOST": server.host,
        "OOD_SERVER_PORT": str(server.port),
        "OOD_SERVER_WEIGHT": str(server.weight),
    }
    reactor.spawnProcess(script, check.script[0], list(check.script), env=environment)
    try:
        return await script.outcome
    except CancelledError:
        script.kill()
        await script.gone
        raise


class ScriptProtocol(ProcessProtocol):
    """A check's command while it runs.

    :ivar outcome: None for exit status 0, else what happened instead.
    :ivar gone: fires when the process has been reaped.
    """

    def __init__(self) -> None:
        self.outcome: Deferred[str | None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def kill(self) -> None:
        """End the command; its time is up."""
        if self.transport is not None:
            try:
                self.transport.signalProcess("KILL")
            except ProcessExitedAlready:
                return

    def processEnded(self, reason: Failure) -> None:
        """Judge by the exit status."""
        if not self.outcome.called:
            done = isinstance(reason.value, ProcessDone)
            self.outcome.callback(None if done else str(reason.value).rstrip("."))
        self.gone.callback(None)
