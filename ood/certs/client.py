"""Orders at a CA (RFC 8555, section 7.4): from names to a certificate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence, Set
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ood.certs.errors import AcmeError, problem_of
from ood.certs.http import Reply
from ood.certs.interfaces import IResponder
from ood.certs.jose import b64
from ood.certs.pem import make_request, split_pem, to_der, top_issuer
from ood.certs.session import Session, decoded

POLL_SECONDS = 300.0
"""How long a validation or a signature is waited for: some CAs ask from several places."""
POLL_FIRST_SECONDS = 0.5
POLL_LONGEST_SECONDS = 15.0
"""Pauses between looks, where the CA names none, grow from the first to the second."""
POLL_NAMED_MAX_SECONDS = 60.0
"""Longest pause that a CA can ask for between two looks."""
ARI_LOOK_SECONDS = (3600.0, 86_400.0)
"""Least and greatest pause between two looks at a certificate's renewal information."""
ARI_USUAL_SECONDS = 21_600.0
"""The same where the CA names none (RFC 9773, 4.3.3)."""
KEY_COMPROMISE = 1
"""Why a certificate is revoked (RFC 5280, 5.3.1)."""
CHAINS_MAX = 8
"""As many further chains are looked at: a CA has two or three."""
CHAIN_TYPE = "application/pem-certificate-chain"

T = TypeVar("T", "Order", "Authorization")


class Order(msgspec.Struct):
    """An order, as the CA shows it."""

    status: str
    authorizations: list[str] = []
    finalize: str = ""
    certificate: str | None = None
    error: dict[str, Any] | None = None
    url: str = ""


class OneChallenge(msgspec.Struct):
    """One way to prove that a name is ours."""

    type: str
    url: str = ""
    token: str = ""
    status: str = "pending"
    error: dict[str, Any] | None = None


class Identifier(msgspec.Struct):
    """A name, in an order."""

    value: str
    type: str = "dns"


class Authorization(msgspec.Struct):
    """What an order needs for one of its names."""

    status: str
    identifier: Identifier
    challenges: list[OneChallenge] = []


class SuggestedWindow(msgspec.Struct):
    """A span of time."""

    start: datetime
    end: datetime


class RenewalInfo(msgspec.Struct, rename="camel"):
    """When a CA would like a certificate to be renewed."""

    suggested_window: SuggestedWindow


class Challenge:
    """What a responder is given: the parts of acme.challenges that txacme's responders use.

    :ivar typ: its type.
    :ivar token: what the CA asks for.
    :ivar key_authorization: the answer to http-01.
    :ivar digest: its SHA-256, the answer to tls-alpn-01.
    :ivar validation: the same as text, what a TXT record holds for dns-01.
    """

    def __init__(self, typ: str, token: str, thumbprint: str) -> None:
        self.typ = typ
        self.token = token
        self.key_authorization = f"{token}.{thumbprint}"
        self.digest = hashlib.sha256(self.key_authorization.encode()).digest()
        self.validation = b64(self.digest)

    def encode(self, _what: str = "token") -> str:
        """Return the token."""
        return self.token


class Client:
    """Gets certificates from the CA of a session.

    :ivar session: the CA, and our account there.
    """

    def __init__(self, session: Session, clock: IReactorTime) -> None:
        self.session = session
        self._clock = clock

    async def issue(
        self,
        names: Sequence[str],
        key: bytes,
        responders: Sequence[IResponder],
        *,
        profile: str = "",
        replaces: str = "",
        order: str = "",
        preferred_chain: str = "",
        began: Callable[[str], None] = lambda _: None,
    ) -> list[bytes]:
        """Return the chain of a new certificate, leaf first.

        :param key: its private key; with ``order``, the one that was made for that.
        :param responders: what can prove that names are ours, in the order of preference.
        :param replaces: renewal id of the certificate that it takes the place of.
        :param preferred_chain: who shall have signed the last certificate of the chain, where
            the CA has several.
        :param order: an order of an earlier run to go on with.
        :param began: called with a new order's URL, before anything is done for it.
        :raises AcmeError: it can't be had.
        """
        placed = await self._resumed(order) if order else None
        if placed is None:
            placed = await self._new_order(names, profile, replaces)
            began(placed.url)
        if placed.status == "pending":
            await self._authorize_all(placed, names, responders)
            placed = await self._settled(placed.url, Order, {"pending"})
        if placed.status == "ready":
            request = {"csr": b64(make_request(tuple(names), key))}
            await self.session.post(placed.finalize, request)
        if placed.status in {"ready", "processing"}:
            placed = await self._settled(placed.url, Order, {"ready", "processing"})
        if placed.status != "valid" or not placed.certificate:
            raise problem_of(placed.error or {"detail": f"the order is {placed.status}"})
        reply = await self.session.post(placed.certificate, accept=CHAIN_TYPE)
        chain = split_pem(reply.body)
        if preferred_chain and top_issuer(chain) != preferred_chain:
            return await self._other_chain(reply, chain, preferred_chain)
        return chain

    async def _other_chain(self, reply: Reply, chain: list[bytes], wanted: str) -> list[bytes]:
        """Return the chain that ends as wanted; the one that is there if there is none."""
        for url in reply.alternates()[:CHAINS_MAX]:
            try:
                other = await self.session.post(url, accept=CHAIN_TYPE)
            except AcmeError:
                continue  # a certificate by another root is better than none
            found = split_pem(other.body)
            if found[:1] == chain[:1] and top_issuer(found) == wanted:
                return found
        return chain

    async def _new_order(self, names: Sequence[str], profile: str, replaces: str) -> Order:
        directory = await self.session.directory()
        payload: dict[str, Any] = {
            "identifiers": [{"type": "dns", "value": name} for name in names]
        }
        if profile:
            known = directory.meta.profiles or {}
            if profile not in known:
                there = f"it has {', '.join(known)}" if known else "it has none"
                raise problem_of({"type": "invalidProfile", "detail": f"{profile}; {there}"})
            payload["profile"] = profile
        if replaces and directory.renewal_info:
            try:
                return await self._place(directory.new_order, {**payload, "replaces": replaces})
            except AcmeError as error:
                if error.kind not in {"alreadyReplaced", "malformed", "unauthorized", "conflict"}:
                    raise  # these say that the other certificate was replaced, or isn't theirs
        return await self._place(directory.new_order, payload)

    async def _place(self, url: str, payload: Any) -> Order:
        reply = await self.session.post(url, payload)
        order = decoded(Order, reply.body)
        order.url = reply.header("location")
        if not order.url:
            raise AcmeError("answer", "the CA does not say where the order is")
        return order

    async def _resumed(self, url: str) -> Order | None:
        """Return an order of an earlier run; None if nothing can come of it any more."""
        try:
            order, _ = await self._look(url, Order)
        except AcmeError as error:
            if error.status in {400, 401, 403, 404, 410}:
                return None
            raise
        order.url = url
        return None if order.status == "invalid" else order

    async def _authorize_all(
        self, order: Order, names: Sequence[str], responders: Sequence[IResponder]
    ) -> None:
        """Prove every name; all are tried, then the first failure is raised."""
        asked = frozenset(name.removeprefix("*.") for name in names)
        work = [
            Deferred.fromCoroutine(self._authorize(url, asked, responders))
            for url in order.authorizations
        ]
        results: Any = await DeferredList(work, consumeErrors=True)
        failures: list[Failure] = [result for succeeded, result in results if not succeeded]
        for failure in sorted(failures, key=lambda one: not isinstance(one.value, CancelledError)):
            failure.raiseException()

    async def _authorize(self, url: str, asked: Set[str], responders: Sequence[IResponder]) -> None:
        wanted, _ = await self._look(url, Authorization)
        if wanted.status == "valid":
            return
        name = wanted.identifier.value
        if (
            name.removeprefix("*.") not in asked
        ):  # a CA must not choose what is proved, and written into the DNS
            raise AcmeError("answer", "the CA wants a name proved that was not asked for")
        responder, one = _choose(wanted, responders)
        challenge = Challenge(one.type, one.token, self.session.key.thumbprint)
        try:
            await maybeDeferred(responder.start_responding, name, challenge, challenge)
            if wanted.status == "pending" and one.status == "pending":
                await self.session.post(one.url, {})
            wanted = await self._settled(url, Authorization, {"pending", "processing"})
        finally:
            await maybeDeferred(responder.stop_responding, name, challenge, challenge)
        if wanted.status != "valid":
            raise _refused(wanted)

    async def _look(self, url: str, kind: type[T]) -> tuple[T, float | None]:
        reply = await self.session.post(url)
        value: T = decoded(kind, reply.body)
        return value, self.session.retry_after(reply)

    async def _settled(self, url: str, kind: type[T], moving: set[str]) -> T:
        """Look until the status is none of ``moving``."""
        end = self._clock.seconds() + POLL_SECONDS
        pause = POLL_FIRST_SECONDS
        while True:
            try:
                value, named = await self._look(url, kind)
            except AcmeError as error:
                if error.status not in {0, 429, 502, 503, 504} or error.kind == "answer":
                    raise
                named = error.retry_after
            else:
                if value.status not in moving:
                    if isinstance(value, Order):
                        value.url = url
                    return value
            wait = min(max(named or 0.0, pause), POLL_NAMED_MAX_SECONDS)
            pause = min(pause * 1.6, POLL_LONGEST_SECONDS)
            if self._clock.seconds() + wait > end:
                raise AcmeError("timeout", "the CA did not come to an end in time")
            await deferLater(self._clock, wait)

    async def renewal_info(self, ari_id: str) -> tuple[float, float, float] | None:
        """Return begin and end of when a certificate should be renewed, and when to look again.

        The last one is in seconds from now.  None: the CA says nothing about it.
        """
        directory = await self.session.directory()
        if not directory.renewal_info or not ari_id:
            return None
        reply = await self.session.send("GET", f"{directory.renewal_info.rstrip('/')}/{ari_id}")
        window = decoded(RenewalInfo, reply.body).suggested_window
        least, greatest = ARI_LOOK_SECONDS
        pause = self.session.retry_after(reply) or ARI_USUAL_SECONDS
        look = min(max(pause, least), greatest)
        return window.start.timestamp(), window.end.timestamp(), look

    async def revoke(self, chain: bytes) -> None:
        """Have a certificate revoked, whose key may be in wrong hands.

        :param chain: its PEM, the certificate itself first.
        """
        directory = await self.session.directory()
        if not directory.revoke_cert:
            raise AcmeError("unsupported", "the CA revokes no certificates")
        payload = {"certificate": b64(to_der(chain)), "reason": KEY_COMPROMISE}
        await self.session.post(directory.revoke_cert, payload)


def _choose(
    wanted: Authorization, responders: Sequence[IResponder]
) -> tuple[IResponder, OneChallenge]:
    for responder in responders:
        for one in wanted.challenges:
            if one.type == responder.challenge_type:
                return responder, one
    offered = ", ".join(one.type for one in wanted.challenges)
    raise AcmeError(
        "unsupported",
        f"the CA offers only {offered or 'nothing'} for {wanted.identifier.value}",
        "a wildcard takes acmeDnsHook",
    )


def _refused(wanted: Authorization) -> AcmeError:
    errors = [one.error for one in wanted.challenges if one.error]
    return problem_of(errors[0] if errors else {"detail": f"it is {wanted.status}"})
