"""The service that tells the targets of the setting ``notify``."""

from __future__ import annotations

import socket

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ood.background import Background
from ood.clock import wall_time
from ood.events import Event, EventBus
from ood.interfaces import INotifier, Notified
from ood.model.document import Document
from ood.model.notify import Target
from ood.notify import senders
from ood.notify.channel import Channel
from ood.notify.core.coalesce import Batch
from ood.notify.senders import Post, RunCommand, SendError

FINISH_SECONDS = 5.0
"""How long the end of the service waits until what happened last is told."""


@implementer(INotifier)
class Notifier(Service):
    """Tells targets of events.

    :param run: runs a program.
    :param post: posts over the web; made when a webhook is named if None.
    """

    def __init__(
        self, clock: IReactorTime, events: EventBus, run: RunCommand, post: Post | None = None
    ) -> None:
        self._clock = clock
        self._run = run
        self._post = post
        self._host = socket.gethostname()
        self._background = Background()
        self._channels: dict[Target, Channel] = {}
        self._end = events.subscribe(self._take)

    def converge(self, document: Document) -> None:
        """Tell the targets that ``document`` names; what waits for others is dropped."""
        wanted = document.settings.notify
        if self._post is None and any(one.webhook for one in wanted):
            self._post = senders.web_post()  # now, so that no crash has to wait for it
        for target in [one for one in self._channels if one not in wanted]:
            self._channels.pop(target).close()
        for target in wanted:
            if target not in self._channels:
                channel = Channel(target, self._send, self._clock, self._background)
                self._channels[target] = channel

    def _take(self, event: Event) -> None:
        for channel in self._channels.values():
            channel.take(event)

    async def _send(self, target: Target, batch: Batch) -> None:
        if target.command:
            await senders.send_command(target, batch, self._host, self._run)
            return
        assert self._post is not None, "made when a webhook was named"
        await senders.send_webhook(target, batch, self._host, self._post, self._clock)

    def test(self) -> Deferred[list[Notified]]:
        """Tell every target now that this is a test; fires with what came of it."""
        return Deferred.fromCoroutine(self._test())

    async def _test(self) -> list[Notified]:
        time = wall_time().isoformat(timespec="milliseconds")
        text = "This is a test of ood's notifications."
        batch = Batch(Event(id=0, time=time, kind="test", app="", text=text))
        work = [Deferred.fromCoroutine(self._try(one, batch)) for one in self._channels]
        return [result for _, result in await DeferredList(work)]

    async def _try(self, target: Target, batch: Batch) -> Notified:
        try:
            await self._send(target, batch)
        except SendError as error:
            return Notified(target=target.shown, error=str(error))
        return Notified(target=target.shown, error="")

    def stopService(self) -> Deferred[None]:
        """Tell what waits, within a bound; fire when nothing is under way any more."""
        _ = super().stopService()  # type: ignore[no-untyped-call]
        self._end()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        work = [one.finish() for one in self._channels.values()]
        done = DeferredList(work, consumeErrors=True)
        timer = self._clock.callLater(FINISH_SECONDS, done.cancel)
        await done
        if timer.active():
            timer.cancel()
        for channel in self._channels.values():
            channel.close()
        await self._background.stop()
