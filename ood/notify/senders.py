"""How one message reaches its target: a program is run, or something is posted."""

from __future__ import annotations

import json
import typing
from collections.abc import Awaitable, Callable, Mapping

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.internet.protocol import Protocol

from ood.model.notify import Target
from ood.notify.core import message
from ood.notify.core.coalesce import Batch

COMMAND_SECONDS = 10.0
"""How long a program may take: it only has to pass a message on."""
POST_SECONDS = 10.0
"""How long an answer may take, connecting included."""
TOO_MANY_REQUESTS = 429
KINDS = {
    "ConnectionRefusedError": "connection refused",
    "ConnectionLost": "the connection was lost",
    "ConnectionDone": "the connection was closed",
    "DNSLookupError": "the host's name does not resolve",
    "NoRouteError": "there is no way to the host",
    "TCPTimedOutError": "the host does not answer",
    "TimeoutError": "the host does not answer",
}
"""Twisted's errors in words; the names of others say enough."""


class SendError(Exception):
    """A message was not taken.

    :ivar again: whether it may be taken later.
    """

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again


class RunCommand(typing.Protocol):
    """Runs a program to its end."""

    def __call__(
        self, argv: tuple[str, ...], env: Mapping[str, str], stdin: bytes, seconds: float
    ) -> Awaitable[str]:
        """Return what was wrong with it; empty if nothing was."""


Post = Callable[[str, bytes], Deferred[int]]
"""``post(url, body)``: post JSON; fires with the answer's status."""


async def send_command(target: Target, batch: Batch, host: str, run: RunCommand) -> None:
    """Run the target's program.

    :raises SendError: it failed.
    """
    body = json.dumps(message.fields(batch, host)).encode()
    fault = await run(target.command, message.environment(batch, host), body, COMMAND_SECONDS)
    if fault:
        raise SendError(fault, again=False)


async def send_webhook(
    target: Target, batch: Batch, host: str, post: Post, clock: IReactorTime
) -> None:
    """Post to the target's URL.

    :raises SendError: it was not taken.
    """
    answer = post(target.webhook, json.dumps(message.chat(batch, host)).encode())
    timer = clock.callLater(POST_SECONDS, answer.cancel)
    try:
        status = await answer
    except CancelledError:
        if timer.active():
            raise  # ood is being stopped
        raise SendError(f"no answer within {POST_SECONDS:g} s", again=True) from None
    except Exception as error:
        # Only its kind: the text of some errors has the URL in it.
        raise SendError(_kind(error), again=True) from None
    finally:
        if timer.active():
            timer.cancel()
    if not 200 <= status < 300:
        again = status >= 500 or status == TOO_MANY_REQUESTS
        raise SendError(f"it answered with status {status}", again=again)


def _kind(error: BaseException) -> str:
    """Return the kind of an error, or of what a web client's error is made of, in words."""
    reasons = getattr(error, "reasons", None)
    inner = getattr(reasons[0], "value", error) if reasons else error
    name = type(inner).__name__
    return KINDS.get(name, name)


class _Unread(Protocol):
    """The body of an answer: it is of no interest, and may be endless."""

    transport: ITransport

    def connectionMade(self) -> None:
        """Don't wait for it."""
        self.transport.loseConnection()


def web_post() -> Post:
    """Return what posts over the network; its libraries are loaded here."""
    import treq  # noqa: PLC0415 - some MB that most services never need
    from twisted.web.http_headers import Headers  # noqa: PLC0415

    def post(url: str, body: bytes) -> Deferred[int]:
        return Deferred.fromCoroutine(sent(url, body))

    async def sent(url: str, body: bytes) -> int:
        response = await treq.post(
            url,
            data=body,
            headers=Headers({"Content-Type": ["application/json"]}),
            allow_redirects=False,
            persistent=False,
            unbuffered=True,
        )
        response.deliverBody(_Unread())
        code: int = response.code
        return code

    return post
