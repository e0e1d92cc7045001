"""Keeps certificates fresh: txacme's issuing service, for ACME v2.

What is different: lifetimes shrink, so reissue and panic intervals are upper
bounds; failures are remembered over a restart and make longer and longer pauses;
a CA may say when it wants a certificate to be renewed; an order that a crash
interrupted is gone on with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ood.background import Background
from ood.certs.client import Client
from ood.certs.core.keeping import Facts, why_unfit, why_worse
from ood.certs.core.schedule import (
    PANIC_SECONDS,
    REISSUE_SECONDS,
    OrderRate,
    Standing,
    next_change,
    pause_after,
    standing,
)
from ood.certs.errors import AcmeError, CertificateError
from ood.certs.interfaces import ICertificateStore, IResponder
from ood.certs.journal import Entry, Journal, Progress
from ood.certs.pem import Leaf, load_objects, load_pair, new_key
from ood.certs.renewal import RenewalWindows
from ood.errors import OodError
from ood.interfaces import Certificate

CHECK_SECONDS = 600.0
"""At least so often everything is looked at: timers don't run while a machine sleeps."""
SHORTEST_PAUSE_SECONDS = 1.0
"""Between two looks."""
ATTEMPTS_AT_ONCE = 10
"""Orders in progress at once; the others wait for their turn."""
PASSING = frozenset(
    {"network", "broken", "timeout", "rateLimited", "serverInternal", "badNonce", "hook", "disk"}
)
"""Failures after which an order that was placed can still be gone on with."""
VALIDATION = frozenset({"dns", "connection", "tls", "unauthorized", "incorrectResponse"})
"""Failures that something about the name explains."""


@dataclass(frozen=True)
class Held:
    """A certificate that is kept."""

    certificate: Certificate
    leaf: Leaf


class AcmeIssuingService(Service):
    """Gets and renews the certificates of names.

    :param cert_store: keeps them.
    :param client: asks the CA.
    :param clock: for pauses.
    :param responders: what proves names, the preferred one first.
    :param email: where the CA may write to.
    :param check_interval: at least so often everything is looked at.
    :param reissue_interval: renewed when valid for less than this or a third of its lifetime.
    :param panic_interval: overdue when valid for less than this or a sixth of it.
    :param panic: called with the failure and the name when an overdue one can't be had.
    :param generate_key: returns a new private key as PEM.
    :param now: tells the time of day.
    :param journal: remembers failures and orders.
    :param profile: what kind of certificate is asked for.
    :param preferred_chain: who shall have signed the last certificate of its chain.
    :param diagnose: fires with what may be wrong with a name, in words; empty if unknown.
    :param changed: called with a name whose certificate or problem changed.
    """

    log = Logger()

    def __init__(
        self,
        cert_store: ICertificateStore,
        client: Client,
        clock: IReactorTime,
        responders: Sequence[IResponder],
        *,
        now: Callable[[], datetime],
        journal: Journal,
        email: str = "",
        check_interval: timedelta = timedelta(seconds=CHECK_SECONDS),
        reissue_interval: timedelta = timedelta(seconds=REISSUE_SECONDS),
        panic_interval: timedelta = timedelta(seconds=PANIC_SECONDS),
        panic: Callable[[Failure, str], None] | None = None,
        generate_key: Callable[[], bytes] = new_key,
        profile: str = "",
        preferred_chain: str = "",
        diagnose: Callable[[str], Deferred[str]] = lambda _: succeed(""),
        changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        client.session.email = email
        self.cert_store = cert_store
        self.journal = journal
        self.held: dict[str, Held] = {}
        self.terms = f"{client.session.url} {profile}".strip()
        self._client = client
        self._clock = clock
        self._responders = tuple(responders)
        self._now = now
        self._check_seconds = check_interval.total_seconds()
        self._reissue = reissue_interval.total_seconds()
        self._panic_seconds = panic_interval.total_seconds()
        self._panic = panic or self._log_panic
        self._generate_key = generate_key
        self._profile = profile
        self._preferred_chain = preferred_chain
        self._diagnose = diagnose
        self._changed = changed
        self._background = Background()
        self._windows = RenewalWindows(
            client,
            clock,
            journal,
            current=self._ari_id,
            seconds=self._seconds,
            background=self._background,
            looked=self.check,
        )
        self._rate = OrderRate()
        self._wanted: tuple[str, ...] | None = None
        self._loaded = False
        self._tried: set[str] = set()
        self._issuing: dict[str, list[Deferred[None]]] = {}
        self._waiting: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        """Load what is kept, then keep it fresh."""
        self.running = True
        self._background.run("loading certificates", self._load())

    def stopService(self) -> Deferred[None]:
        """Give up what is under way; fire when it has been cleaned up."""
        self.running = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.cancel()
        return self._background.stop()

    async def _load(self) -> None:
        for name, objects in (await self.cert_store.as_dict()).items():
            if not objects:
                continue  # wanted, says the empty file
            try:
                self.held[name] = held = Held(*load_objects(objects, "acme"))
            except CertificateError as error:
                self.log.error("the certificate of {name}: {error}", name=name, error=error)
            else:
                self._end_order(name, held)
        self._loaded = True
        self.check()

    def _end_order(self, name: str, held: Held) -> None:
        """Note that an order has come to its end, if a crash kept that from being noted.

        Who went on with it would get the same certificate once more.
        """
        progress = self.journal.progress(name, self.terms)
        if progress is not None and progress.key.encode() == held.certificate.key_pem:
            self._note_success(name)

    def _note_success(self, name: str) -> None:
        self.journal.note(name, Entry(terms=self.terms))
        self.journal.ended(name)

    def want(self, names: Iterable[str]) -> None:
        """Keep the certificates of just these names, from now on."""
        self._wanted = tuple(names)
        self._tried &= set(self._wanted)
        self.check()

    def wanted(self) -> tuple[str, ...]:
        """Return the names whose certificates are kept: all of the store if none were named."""
        return tuple(self.held) if self._wanted is None else self._wanted

    def is_issuing(self, name: str) -> bool:
        """Tell whether a certificate of ``name`` is being obtained."""
        return name in self._issuing

    def when_certs_valid(self) -> Deferred[None]:
        """Fire once every wanted certificate is there, or could not be had."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        self.check()
        return waiter

    def _seconds(self) -> float:
        return self._now().timestamp()

    def _ari_id(self, name: str) -> str:
        held = self.held.get(name)
        return "" if held is None else held.leaf.ari_id

    def _standing(self, name: str) -> Standing:
        held, entry = self.held.get(name), self.journal.entry(name)
        if held is None or why_unfit(_facts(held, ""), [name], self._seconds()):
            return Standing.PANIC
        found = standing(
            held.leaf.span, self._seconds(), entry.window, self._reissue, self._panic_seconds
        )
        if found is Standing.VALID and entry.terms not in {"", self.terms}:
            return Standing.REISSUE  # another CA or profile was chosen
        return found

    def check(self) -> None:
        """Begin what is due, and come back when more is."""
        if not self.running or not self._loaded:
            return
        now = self._seconds()
        due = [
            (one is Standing.REISSUE, name)
            for name in self.wanted()
            if (one := self._standing(name)) is not Standing.VALID
            and name not in self._issuing
            and self.journal.entry(name).next_try <= now
        ]
        for _, name in sorted(due)[: max(0, ATTEMPTS_AT_ONCE - len(self._issuing))]:
            _ = self.issue_cert(name).addErrback(lambda _: None)  # _attempt has noted it
        for name in self.wanted():
            ours = self.journal.entry(name).terms == self.terms and name not in self._issuing
            if ours and name in self.held:
                self._windows.look_soon(name)
        self._tell_waiting()
        self._come_back(now)

    def _tell_waiting(self) -> None:
        missing = (name for name in self.wanted() if self._standing(name) is Standing.PANIC)
        if self._tried.issuperset(missing):
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(None)

    def _come_back(self, now: float) -> None:
        moments = [now + self._check_seconds]
        for name in self.wanted():
            entry, held = self.journal.entry(name), self.held.get(name)
            if entry.next_try > now:
                moments.append(entry.next_try)
            if held is not None:
                moments.append(next_change(held.leaf.span, entry.window, self._reissue))
        soonest = min((one for one in moments if one > now), default=now)
        pause = max(soonest - now, SHORTEST_PAUSE_SECONDS)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(pause, self.check)

    def issue_cert(self, server_name: str) -> Deferred[None]:
        """Get a certificate now; fire when it is kept.

        A name is ordered once at a time: later callers wait for what is under way.
        """
        waiter: Deferred[None] = Deferred()
        if server_name in self._issuing:
            self._issuing[server_name].append(waiter)
        else:
            self._issuing[server_name] = [waiter]
            self._background.run(f"certificate of {server_name}", self._attempt(server_name))
        return waiter

    async def _attempt(self, name: str) -> None:
        """Get a certificate, and note how it went."""
        self._changed(name)
        result: Failure | None = None
        try:
            await self._issue(name)
        except CancelledError:
            result = Failure()  # type: ignore[no-untyped-call]
        except OodError as error:
            result = Failure()  # type: ignore[no-untyped-call]
            await self._note_failure(name, error, result)
        except OSError as error:
            lost = AcmeError("disk", f"the certificate can't be kept: {error}")
            result = Failure(lost)  # type: ignore[no-untyped-call]
            await self._note_failure(name, lost, result)
        except Exception:
            result = Failure()  # type: ignore[no-untyped-call]
            self.log.failure("getting the certificate of {name} failed", name=name)
            unknown = AcmeError("unknown", "ood failed; its log says how")
            await self._note_failure(name, unknown, result)
        finally:
            waiters = self._issuing.pop(name)
            self._tried.add(name)
        self._changed(name)
        for waiter in waiters:
            waiter.callback(None) if result is None else waiter.errback(result)
        self.check()

    async def _note_failure(self, name: str, error: OodError, failure: Failure) -> None:
        if self._standing(name) is Standing.VALID:
            # Somebody asked for it before its time, and is told; nothing is tried again.
            self.log.warn("{name} is not renewed: {error}", name=name, error=error)
            return
        retry_after = error.retry_after if isinstance(error, AcmeError) else None
        kind = error.kind if isinstance(error, AcmeError) else ""
        broken = isinstance(error, AcmeError) and error.status >= 500
        if kind not in PASSING and not broken:
            self.journal.ended(name)
        entry = self.journal.entry(name)
        count = entry.failures + 1
        pause = pause_after(count, retry_after)
        entry = msgspec.structs.replace(
            entry, failures=count, next_try=self._seconds() + pause, problem=str(error)
        )
        self.journal.note(name, entry)
        if self._standing(name) is Standing.PANIC:
            self._panic(failure, name)
        else:
            self.log.warn("{name} is not renewed: {error}", name=name, error=error)
        if kind in VALIDATION and isinstance(error, AcmeError) and not error.status:
            with suppress(CancelledError):  # then it is only not explained
                found = await self._diagnose(name)
                text = f"{found}; {error}" if found else str(error)
                self.journal.note(name, msgspec.structs.replace(entry, problem=text))

    def _log_panic(self, failure: Failure, name: str) -> None:
        self.log.error("no certificate for {name}: {error}", name=name, error=failure.value)

    async def _issue(self, name: str) -> None:
        wait = self._rate.reserve(self._clock.seconds())
        if wait > 0:
            await deferLater(self._clock, wait)
        responders = self._able(name)
        progress = self.journal.progress(name, self.terms)
        key = progress.key.encode() if progress else self._generate_key()
        entry = self.journal.entry(name)

        def began(url: str) -> None:
            self.journal.began(name, Progress(url=url, key=key.decode(), terms=self.terms))

        chain = await self._client.issue(
            (name,),
            key,
            responders,
            profile=self._profile,
            replaces=self._ari_id(name) if entry.terms == self.terms else "",
            order=progress.url if progress else "",
            preferred_chain=self._preferred_chain,
            began=began,
        )
        await self._keep(name, Held(*load_pair(key, b"".join(chain), "acme")), [key, *chain])

    async def _keep(self, name: str, new: Held, objects: list[bytes]) -> None:
        """Put a new certificate in the place of what was there, if it is not worse."""
        held, entry = self.held.get(name), self.journal.entry(name)
        before = None if held is None else _facts(held, entry.terms or self.terms)
        facts = _facts(new, self.terms)
        problem = why_unfit(facts, [name], self._seconds())
        problem = problem or why_worse(before, facts, self._seconds())
        if problem:
            raise CertificateError(f"the CA's certificate is not taken: {problem}")
        await self.cert_store.store(name, objects)
        self.held[name] = new
        self._note_success(name)
        until = new.certificate.not_after
        self.log.info("certificate of {name}, until {until:%Y-%m-%d}", name=name, until=until)

    def _able(self, name: str) -> list[IResponder]:
        """Return what can prove ``name``, beginning with another one after each failure."""
        able = [
            one
            for one in self._responders
            if one.challenge_type == "dns-01" or not name.startswith("*.")
        ]
        if not able:
            raise AcmeError(
                "unsupported", "a wildcard can only be proved in the DNS", "set acmeDnsHook"
            )
        first = self.journal.entry(name).failures % len(able)
        return able[first:] + able[:first]


def _facts(held: Held, terms: str) -> Facts:
    return Facts(held.leaf.names, held.leaf.span, terms)
