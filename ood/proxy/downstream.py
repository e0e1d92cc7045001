"""The contract between a request and what serves it.

A *downstream* is the client's side of one request: a request on an HTTP/1.1
connection (:mod:`ood.proxy.http1`), or a stream of another protocol.  A *flow* is
what serves the request: an exchange with an upstream, a tunnel, or anything else
that answers.  Neither knows more of the other than this.

The order of calls
==================

The downstream's creator makes the flow, sets :attr:`Downstream.flow`, and calls
:meth:`Flow.start` (:func:`ood.proxy.begin.begin` does all of that).  Then::

    flow -> downstream   interim* (reply(end=True) | reply data* end | page | abort)
                         interim* tunnel data* end? (close | abort)
    downstream -> flow   body* body_ended, or body* body_failed

- The request's body is held back until the first :meth:`Downstream.resume_body`.  A request
  whose ``length`` is 0 has no body: neither ``body`` nor ``body_ended`` is called.
- The response may begin, and even end, before the request's body did.
- *The last call*: ``reply(end=True)``, ``end`` (not in a tunnel), ``page``, ``close`` and
  ``abort`` end the request.  After one of them the downstream calls the flow no more, and
  the flow calls nothing of the downstream.  The client's next request may have been started
  before such a call returns, so the flow lets go of everything (its upstream connection goes
  back to the pool) *before* it makes it.
- After :meth:`Flow.client_failed` the request is over, too: the flow calls nothing more.
- After :meth:`Flow.cancel` and :meth:`Flow.body_failed` the flow makes its last call at once.

Reentrancy
==========

Only ``resume_body`` may call the flow back before it returns, with ``body``,
``body_ended`` or ``body_failed``; the flow may make its last call in there.  No
other method of a downstream calls the flow.  In particular a failed write calls nobody: it sets
:attr:`Downstream.broken`, which the flow looks at after writing a part of a body
(whoever does not is told later by ``client_failed`` or ``expired``).

Within ``body`` a flow may make its last call; the downstream checks that
:attr:`Downstream.flow` is still there before it goes on.  A flow whose ``pause_body`` was
called within ``body`` may still get ``body_ended``, never another ``body``.

Back-pressure
=============

To the client: a flow that finds :attr:`Downstream.full` after a write stops producing until
:meth:`Flow.client_drained`.  From the client: ``pause_body`` and ``resume_body``.  What
a downstream has to hold while paused is bounded by it (HTTP/1.1 stops reading, HTTP/2
does not enlarge its window).

Deadlines
=========

Each request has one deadline, which the flow moves with :meth:`Downstream.touch` and
which calls :meth:`Flow.expired`.  It is exact to :data:`ood.proxy.live.TICK_SECONDS`.
"""

from __future__ import annotations

from typing import Protocol

from ood.proxy.core.pages import Page
from ood.proxy.core.response import Response


class Flow(Protocol):
    """What serves one request."""

    def start(self) -> None:
        """Begin; the downstream is ready.  May make the last call at once."""

    def body(self, payload: bytes) -> None:
        """Take a part of the request's body, without framing and not empty."""

    def body_ended(self, trailers: bytes) -> None:
        """Learn that the request's body is complete.

        :param trailers: the fields after it as they came, each with its line end.
        """

    def body_failed(self, page: Page) -> None:
        """Learn that the body's framing is broken: answer with ``page`` or abort, now."""

    def client_flushed(self) -> None:
        """Learn that the client took some of what was written: it is alive."""

    def client_drained(self) -> None:
        """Learn that the downstream is not full any more."""

    def client_failed(self) -> None:
        """Learn that the client is gone and the request over; call nothing more."""

    def expired(self) -> None:
        """Act on the deadline: move it, or end the request."""

    def drain(self) -> None:
        """Learn that the service ends: what would never end by itself ends now."""

    def cancel(self) -> None:
        """Stop, and :meth:`Downstream.abort`: nobody waits for the answer any more."""


class Downstream(Protocol):
    """The client's side of one request.

    :ivar flow: what serves it; None before that and after the request's end.
    """

    flow: Flow | None

    @property
    def full(self) -> bool:
        """Whether more than the high-water mark waits to be sent to the client."""

    @property
    def broken(self) -> bool:
        """Whether the client can't be written to any more; the flow was not told."""

    # The response.

    def interim(self, response: Response) -> None:
        """Send a 1xx response (not 101), if the client knows such."""

    def reply(
        self, response: Response, data: bytes, *, end: bool = False, trailers: bytes = b""
    ) -> None:
        """Send the head of the final response, and with it the first bytes of its body.

        What of its fields concerns one connection only is dropped here.

        :param response: ``length`` is the body's length, or negative if it is not known yet.
        :param data: a part of the body without framing; may be empty.
        :param end: this is the whole response; the request is over.
        :param trailers: with ``end``, the fields after the body.
        """

    def data(self, payload: bytes) -> None:
        """Send more of the body, not empty."""

    def end(self, payload: bytes = b"", trailers: bytes = b"") -> None:
        """Send the last of the body, which may be empty; the request is over.

        In a tunnel it only tells the client that no more will come; :meth:`close` follows
        when the client's side has ended, too.
        """

    def page(self, page: Page) -> None:
        """Send an answer of our own instead of a reply; the request is over.

        What the client still sends of its body is read away for a while, so that the
        answer reaches it.
        """

    def abort(self) -> None:
        """End the request so that the client sees that its answer is not whole."""

    # A tunnel.

    def tunnel(self, response: Response, data: bytes) -> None:
        """Send the response that switches protocols (101), and ``data`` after it.

        From now on :meth:`Flow.body` gets what the client sends and :meth:`data` takes
        what it is to be sent, both as they are; :meth:`Flow.body_ended` tells that the
        client sends no more.  The body is held back as at a request's begin.  The flow may
        be replaced by another one, which begins with :meth:`resume_body`.
        """

    def close(self) -> None:
        """End a tunnel both ways once everything written has been sent."""

    # The request's body, and time.

    def pause_body(self) -> None:
        """Hold the request's body back."""

    def resume_body(self) -> None:
        """Let the request's body come; may call the flow before it returns."""

    def watch(self) -> None:
        """Tell the flow from now on when the client goes away.

        On an HTTP/1.1 connection that costs system calls, so only requests that take long
        ask for it; other protocols learn of it anyway and do nothing here.
        """

    def touch(self, seconds: float) -> None:
        """Set the deadline to so many seconds from now; ``NEVER`` for none."""
