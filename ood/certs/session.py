"""Signed requests to a CA: directory, nonces, the account (RFC 8555, sections 6 and 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from ood.certs.errors import AcmeError, problem_of
from ood.certs.http import Http, Reply
from ood.certs.jose import AccountKey, unb64

NONCE_TRIES = 60
"""How often a request is repeated whose nonce was refused: with 60 % refused by
a CA on purpose, one of 10^13 requests fails."""
BROKEN_TRIES = 2
"""The same for a kept connection that the CA had closed; what got through nevertheless
has used up its nonce."""
NONCES_KEPT = 20
"""Nonces go stale, so few are kept."""
DIRECTORY_SECONDS = 86_400.0
"""How long a directory is believed."""
JOSE_TYPE = "application/jose+json"
JSON_TYPE = "application/json"

T = TypeVar("T")


class Meta(msgspec.Struct, rename="camel"):
    """What a CA says about itself."""

    external_account_required: bool | None = None
    profiles: dict[str, Any] | None = None


class Directory(msgspec.Struct, rename="camel"):
    """Where a CA's resources are."""

    new_nonce: str
    new_account: str
    new_order: str
    revoke_cert: str | None = None
    renewal_info: str | None = None
    meta: Meta = msgspec.field(default_factory=Meta)


class Account(msgspec.Struct):
    """An account, as the CA shows it."""

    contact: list[str] | None = None


@dataclass(frozen=True)
class Binding:
    """What ties an account to a customer of the CA.

    :ivar key_id: the customer's id.
    :ivar mac_key: the shared secret, base64url.
    """

    key_id: str
    mac_key: str

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Binding({self.key_id!r})"


def decoded(kind: type[T], body: bytes) -> T:
    """Return an answer's JSON as ``kind``.

    :raises AcmeError: it is something else.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise AcmeError("answer", f"the CA's answer is not ACME: {error}") from None


class Session:
    """A CA as one account sees it.

    :param http: carries the requests.
    :param now: tells the time of day, for what a CA dates.
    :param url: the CA's directory.
    :param key: the account's key.
    :param email: where the CA may write to.
    :param binding: for CAs that only know their customers.
    """

    def __init__(
        self,
        http: Http,
        clock: IReactorTime,
        now: Callable[[], datetime],
        url: str,
        key: AccountKey,
        *,
        email: str = "",
        binding: Binding | None = None,
    ) -> None:
        self.url = url
        self.key = key
        self._http = http
        self._clock = clock
        self._now = now
        self.email = email
        self._binding = binding
        self._nonces: list[str] = []
        self._directory: Directory | None = None
        self._directory_until = 0.0
        self._account = ""
        self._lock = DeferredLock()

    async def directory(self) -> Directory:
        """Return the CA's directory."""
        if self._directory is None or self._clock.seconds() > self._directory_until:
            reply = await self.send("GET", self.url)
            self._directory = decoded(Directory, reply.body)
            self._directory_until = self._clock.seconds() + DIRECTORY_SECONDS
        return self._directory

    async def send(
        self, method: str, url: str, data: bytes | None = None, accept: str = JSON_TYPE
    ) -> Reply:
        """Return a good answer.

        :raises AcmeError: it is a bad one, or there is none.
        """
        headers = {"Accept": accept}
        if data is not None:
            headers["Content-Type"] = JOSE_TYPE
        reply = await self._http.request(method, url, data, headers)
        nonce = reply.header("replay-nonce")
        if nonce:
            self._nonces = [*self._nonces, nonce][-NONCES_KEPT:]
        if reply.status >= 300:
            raise problem_of(_plain(reply.body), reply.status, self.retry_after(reply))
        return reply

    def retry_after(self, reply: Reply) -> float | None:
        """Return in how many seconds the CA wants to be asked again, if it says."""
        text = reply.header("retry-after")
        if text.isascii() and text.isdigit():
            return float(text)
        try:
            moment = parsedate_to_datetime(text)
            return max(0.0, (moment - self._now()).total_seconds())
        except (TypeError, ValueError, IndexError):
            return None

    async def post(self, url: str, payload: Any = None, accept: str = JSON_TYPE) -> Reply:
        """Send a request in the account's name; a payload of None only reads."""
        account = await self.account()
        try:
            return await self._post(url, payload, accept, kid=account)
        except AcmeError as error:
            if error.kind != "accountDoesNotExist":
                raise
        self._account = ""  # the CA has forgotten it, as test CAs do with every start
        return await self._post(url, payload, accept, kid=await self.account())

    async def _post(self, url: str, payload: Any, accept: str, **who: Any) -> Reply:
        allowed = {"badNonce": NONCE_TRIES, "broken": BROKEN_TRIES}
        while True:
            nonce = await self._nonce()
            data = self.key.sign(payload, nonce=nonce, url=url, **who)
            try:
                return await self.send("POST", url, data, accept)
            except AcmeError as error:
                allowed[error.kind] = allowed.get(error.kind, 0) - 1
                if allowed[error.kind] < 0:
                    raise

    async def _nonce(self) -> str:
        directory = await self.directory()
        while not self._nonces:
            reply = await self.send("HEAD", directory.new_nonce)
            if not reply.header("replay-nonce"):
                raise AcmeError("answer", "the CA gives no nonce")
        return self._nonces.pop()

    async def account(self) -> str:
        """Return the account's URL; the first time the account is made or found."""
        await self._lock.acquire()
        try:
            if not self._account:
                self._account = await self._register()
            return self._account
        finally:
            self._lock.release()

    async def _register(self) -> str:
        directory = await self.directory()
        payload: dict[str, Any] = {"termsOfServiceAgreed": True}
        contact = [f"mailto:{self.email}"] if self.email else []
        if contact:
            payload["contact"] = contact
        if self._binding is not None:
            payload["externalAccountBinding"] = self._bound(self._binding, directory.new_account)
        elif directory.meta.external_account_required:
            raise problem_of({"type": "externalAccountRequired"})
        reply = await self._post(directory.new_account, payload, JSON_TYPE, jwk=self.key.jwk)
        account = reply.header("location")
        if not account:
            raise AcmeError("answer", "the CA does not say where the account is")
        if reply.status == 200 and contact and decoded(Account, reply.body).contact != contact:
            await self._post(account, {"contact": contact}, JSON_TYPE, kid=account)
        return account

    def _bound(self, binding: Binding, url: str) -> dict[str, str]:
        try:
            secret = unb64(binding.mac_key)
        except ValueError:
            raise AcmeError(
                "externalAccountRequired", "what acmeEabKeyFile holds is not base64url"
            ) from None
        return self.key.binding(binding.key_id, secret, url)


def _plain(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {"detail": body[:200].decode("utf-8", "replace")}
