"""The way to one target: new tries, a bounded queue, the end."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ood.background import Background
from ood.events import EventBus
from ood.model.document import Document, Settings
from ood.model.notify import Target
from ood.notify import senders
from ood.notify.channel import LOG_AGAIN_SECONDS, QUEUE_MAX, RETRY_SECONDS, Channel
from ood.notify.core.coalesce import WINDOW_SECONDS, Batch
from ood.notify.senders import POST_SECONDS, SendError
from ood.notify.service import FINISH_SECONDS, Notifier
from tests.notify.test_core import HOOK, event

TARGET = Target(webhook=HOOK)


class ChannelTests(SynchronousTestCase):
    """One channel; each try is answered by the test."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.background = Background()
        self.tries: list[tuple[Batch, Deferred[None]]] = []
        self.channel = Channel(TARGET, self.send, self.clock, self.background)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))
        self.addCleanup(self.channel.close)

    async def send(self, target: Target, batch: Batch) -> None:
        answer: Deferred[None] = Deferred()
        self.tries.append((batch, answer))
        await answer

    def answer(self, error: SendError | None = None) -> None:
        _, last = self.tries[-1]
        if error is None:
            last.callback(None)
        else:
            last.errback(error)

    def watch_log(self) -> None:
        self.lines: list[str] = []

        def observe(entry: Any) -> None:
            self.lines.append(formatEvent(entry))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def test_tries_again(self) -> None:
        """A few times, with longer pauses; then the next message is tried."""
        self.watch_log()
        self.channel.take(event(1))
        self.channel.take(event(2, "errored"))
        for pause in RETRY_SECONDS:
            self.answer(SendError("no answer", again=True))
            self.clock.advance(pause - 0.1)
            count = len(self.tries)
            self.clock.advance(0.1)
            self.assertEqual(len(self.tries), count + 1)
        self.assertEqual({batch.event.kind for batch, _ in self.tries}, {"death"})
        self.answer(SendError("no answer", again=True))
        self.assertEqual(self.tries[-1][0].event.kind, "errored")
        self.answer()
        self.assertEqual(len(self.lines), 1)
        self.assertIn("no answer", self.lines[0])
        self.assertNotIn("verysecret", self.lines[0])

    def test_refused(self) -> None:
        """What will not be better later is not tried again; the log says so now and then."""
        self.watch_log()
        for number in range(3):
            self.channel.take(event(number, app=str(number)))
            self.answer(SendError("status 404", again=False))
        self.assertEqual((len(self.tries), len(self.lines)), (3, 1))
        self.clock.advance(LOG_AGAIN_SECONDS)
        self.channel.take(event(9, app="9"))
        self.answer(SendError("status 404", again=False))
        self.assertEqual(len(self.lines), 2)

    def test_coalesced(self) -> None:
        """A crash loop is two messages: the first at once, the rest in the end."""
        for number in range(50):
            self.channel.take(event(number))
        self.answer()
        self.assertEqual(len(self.tries), 1)
        self.clock.advance(WINDOW_SECONDS)
        self.assertEqual([batch.count for batch, _ in self.tries], [1, 49])
        self.answer()

    def test_bounded(self) -> None:
        """Behind a target that does not answer, the newest messages are kept."""
        for number in range(60 + QUEUE_MAX):
            self.channel.take(event(number, app=str(number)))
            self.clock.advance(60)
        self.assertEqual(len(self.channel._queue), QUEUE_MAX)
        self.channel.close()
        self.answer()

    def test_not_wanted(self) -> None:
        """Events that the target does not want are nothing to it."""
        self.channel.take(event(1, "worker"))
        self.assertEqual(self.tries, [])

    def test_finish(self) -> None:
        """At the end what waits for its window or its next try is told once more."""
        self.channel.take(event(1))
        self.answer(SendError("no answer", again=True))
        self.channel.take(event(2))
        self.channel.take(event(3))
        done = self.channel.finish()
        self.assertEqual(len(self.tries), 2)
        self.answer(SendError("no answer", again=True))
        self.assertNoResult(done)
        self.assertEqual(self.tries[-1][0].count, 2)
        self.answer()
        self.successResultOf(done)


class NotifierTests(SynchronousTestCase):
    """The service, with a web and programs of the test's."""

    def setUp(self) -> None:
        self.clock, self.events = Clock(), EventBus()
        self.posts: list[tuple[str, bytes]] = []
        self.answers: list[Deferred[int]] = []
        self.programs: list[tuple[str, ...]] = []
        self.fault = ""
        self.notifier = Notifier(self.clock, self.events, self.run_program, self.post)
        self.notifier.startService()
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def post(self, url: str, body: bytes) -> Deferred[int]:
        self.posts.append((url, body))
        answer: Deferred[int] = Deferred()
        self.answers.append(answer)
        return answer

    async def run_program(self, argv, env, stdin, seconds) -> str:  # type: ignore[no-untyped-def]
        self.programs.append(argv)
        return self.fault

    def converge(self, *targets: Target) -> None:
        self.notifier.converge(Document(settings=Settings(notify=targets)))

    def stop(self) -> None:
        self.successResultOf(self.notifier.stopService())

    def test_targets_come_and_go(self) -> None:
        """Who is named is told, who is not any more is not."""
        run = Target(command=("/bin/page",))
        self.converge(TARGET, run)
        self.events.publish("death", "x died", "x")
        self.answers[0].callback(200)
        self.assertEqual((len(self.posts), self.programs), (1, [("/bin/page",)]))
        self.assertEqual(self.posts[0][0], HOOK)
        self.converge(run)
        self.events.publish("errored", "x", "x")
        self.assertEqual((len(self.posts), len(self.programs)), (1, 2))
        self.stop()

    def test_statuses(self) -> None:
        """A server's own trouble and too many requests are for later; a refusal is not."""
        for status, again in ((500, True), (429, True), (404, False), (302, False)):
            sent = self.begin()
            self.answers[-1].callback(status)
            error = self.failureResultOf(sent, SendError).value
            self.assertEqual((error.again, str(status) in str(error)), (again, True))

    def begin(self) -> Deferred[None]:
        work = senders.send_webhook(TARGET, Batch(event()), "h", self.post, self.clock)
        return Deferred.fromCoroutine(work)

    def test_errors_hide_the_url(self) -> None:
        """Of an error only its kind is told, in words; no answer is one, too."""
        refused = ConnectionRefusedError(f"{HOOK} refused")
        for error, told in ((ValueError(HOOK), "ValueError"), (refused, "connection refused")):
            sent = self.begin()
            self.answers[-1].errback(error)
            self.assertEqual(str(self.failureResultOf(sent, SendError).value), told)
        sent = self.begin()
        self.clock.advance(POST_SECONDS)
        self.assertIn("no answer within", str(self.failureResultOf(sent, SendError).value))

    def test_test(self) -> None:
        """Every target is told at once, and what came of it is said without secrets."""
        self.fault = "exited with status 1"
        self.converge(TARGET, Target(command=("/bin/page",), events=("errored",)))
        tested = self.notifier.test()
        self.answers[0].callback(204)
        results = self.successResultOf(tested)
        self.assertEqual([one.error for one in results], ["", "exited with status 1"])
        self.assertNotIn("verysecret", results[0].target)
        self.stop()

    def test_end(self) -> None:
        """The end waits until what happened last is told, but not for ever."""
        self.converge(TARGET)
        self.events.publish("death", "x died", "x")
        self.events.publish("death", "x died again", "x")
        stopped = self.notifier.stopService()
        self.answers[0].callback(200)
        self.assertNoResult(stopped)
        self.assertIn(b"died again", self.posts[1][1])
        self.clock.advance(FINISH_SECONDS)
        self.successResultOf(stopped)
        self.events.publish("death", "x", "x")
        self.assertEqual(len(self.posts), 2)
