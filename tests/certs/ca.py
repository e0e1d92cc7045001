"""A CA in memory, and the issuing service over it with a clock that tests turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers

from ood.certs.client import Client
from ood.certs.errors import AcmeError
from ood.certs.http import Reply
from ood.certs.issuing import AcmeIssuingService
from ood.certs.jose import AccountKey, unb64
from ood.certs.journal import Journal
from ood.certs.pem import unsigned
from ood.certs.responders import HttpResponder
from ood.certs.session import Session
from ood.certs.store import DirectoryStore

EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)
BASE = "https://ca.test"
ERROR = "urn:ietf:params:acme:error:"


class MemoryCa:
    """Answers as a CA does; it believes signatures.

    :ivar down: whether nothing answers.
    :ivar refusals: what the next requests of a kind are refused with: status, type, headers.
    :ivar bad: names that never validate.
    :ivar looks: how often an authorization is pending before it is decided.
    :ivar poll_after: Retry-After while it is.
    :ivar lifetime: of certificates.
    :ivar window: renewal information in seconds since EPOCH; None if it has none.
    :ivar early: renewal ids of certificates that it wants back now.
    :ivar spoil: makes a certificate's request into another one.
    :ivar crash: raised at the request of that number.
    :ivar orders: what was ordered.
    :ivar requests: kind and moment of every request.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.down = False
        self.refusals: dict[str, list[tuple[int, str, dict[str, str]]]] = {}
        self.bad: set[str] = set()
        self.looks = 1
        self.poll_after = ""
        self.lifetime = timedelta(days=90)
        self.window: tuple[float, float] | None = None
        self.early: set[str] = set()
        self.profiles: dict[str, str] = {}
        self.spoil: Callable[[x509.CertificateSigningRequest], Any] | None = None
        self.crash: int | None = None
        self.offered = ["http-01", "tls-alpn-01", "dns-01"]
        self.orders: list[dict[str, Any]] = []
        self.requests: list[tuple[str, float]] = []
        self.chosen: list[str] = []
        self.closed = False

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.clock.seconds())

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)

    def request(
        self, method: str, url: str, data: bytes | None, headers: dict[str, str]
    ) -> Deferred[Reply]:
        kind, _, rest = url.removeprefix(BASE + "/").partition("/")
        self.requests.append((kind, self.clock.seconds()))
        if self.crash is not None and len(self.requests) >= self.crash:
            return Deferred()  # the machine is gone
        if self.down:
            return fail(AcmeError("network", "the CA can't be reached"))
        if self.refusals.get(kind):
            status, error, more = self.refusals[kind].pop(0)
            body = {"type": ERROR + error, "detail": f"no {kind}"}
            return succeed(self._reply(status, body, **more))
        payload = None
        if data is not None:
            text = json.loads(data)["payload"]
            payload = json.loads(unb64(text)) if text else None
        return succeed(getattr(self, f"_{kind}")(rest, payload))

    def _reply(self, status: int, body: Any, **headers: str) -> Reply:
        raw = Headers({"Replay-Nonce": [f"n{len(self.requests)}"]})
        for name, value in headers.items():
            raw.setRawHeaders(name.replace("_", "-"), [value])
        return Reply(status, raw, body if isinstance(body, bytes) else json.dumps(body).encode())

    def _dir(self, rest: str, payload: Any) -> Reply:
        body: dict[str, Any] = {
            "newNonce": f"{BASE}/nonce",
            "newAccount": f"{BASE}/account",
            "newOrder": f"{BASE}/place",
            "meta": {"profiles": self.profiles},
        }
        if self.window is not None:
            body["renewalInfo"] = f"{BASE}/renewal"
        return self._reply(200, body)

    def _nonce(self, rest: str, payload: Any) -> Reply:
        return self._reply(200, b"")

    def _account(self, rest: str, payload: Any) -> Reply:
        assert payload["termsOfServiceAgreed"]
        return self._reply(201, payload, location=f"{BASE}/account/1")

    def _place(self, rest: str, payload: Any) -> Reply:
        number = len(self.orders)
        names = [one["value"] for one in payload["identifiers"]]
        order = {**payload, "names": names, "proved": {}, "looks": {}, "certificate": None}
        self.orders.append(order)
        shown = self._shown(number)
        return self._reply(201, shown, location=f"{BASE}/order/{number}")

    def _shown(self, number: int) -> dict[str, Any]:
        order = self.orders[number]
        proved = [order["proved"].get(name) for name in order["names"]]
        status = "invalid" if False in proved else "ready" if all(proved) else "pending"
        shown = {
            "status": "valid" if order["certificate"] else status,
            "authorizations": [f"{BASE}/authz/{number}/{name}" for name in order["names"]],
            "finalize": f"{BASE}/finalize/{number}",
        }
        if order["certificate"]:
            shown["certificate"] = f"{BASE}/cert/{number}"
        return shown

    def _order(self, rest: str, payload: Any) -> Reply:
        if not rest.isdigit() or int(rest) >= len(self.orders):
            return self._reply(404, {"type": ERROR + "malformed", "detail": "no such order"})
        return self._reply(200, self._shown(int(rest)))

    def _authz(self, rest: str, payload: Any) -> Reply:
        number, _, name = rest.partition("/")
        order = self.orders[int(number)]
        if name in order["looks"] and name not in order["proved"]:
            order["looks"][name] += 1
            if order["looks"][name] > self.looks:
                order["proved"][name] = name not in self.bad
        proved = order["proved"].get(name)
        status = {None: "pending", True: "valid", False: "invalid"}[proved]
        challenges = [
            {"type": kind, "url": f"{BASE}/answer/{rest}/{kind}", "token": f"{kind}-{rest}"}
            for kind in self.offered
        ]
        if proved is False:
            detail = {"type": ERROR + "unauthorized", "detail": f"{name} says no"}
            challenges[0].update(status="invalid", error=detail)
        body = {"status": status, "identifier": {"type": "dns", "value": name}}
        more = {"retry_after": self.poll_after} if self.poll_after and proved is None else {}
        return self._reply(200, {**body, "challenges": challenges}, **more)

    def _answer(self, rest: str, payload: Any) -> Reply:
        number, name, kind = rest.split("/")
        self.chosen.append(kind)
        self.orders[int(number)]["looks"][name] = 0
        return self._reply(200, {})

    def _finalize(self, rest: str, payload: Any) -> Reply:
        order = self.orders[int(rest)]
        request = x509.load_der_x509_csr(unb64(payload["csr"]))
        order["certificate"] = self.sign(self.spoil(request) if self.spoil else request)
        return self._reply(200, self._shown(int(rest)))

    def sign(self, request: Any) -> bytes:
        builder = unsigned("leaf", "a CA in memory", self.key, self.now(), self.lifetime)
        alternative = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder._public_key = request.public_key()
        signed = builder.add_extension(alternative.value, False).add_extension(issuer, False)
        return signed.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _cert(self, rest: str, payload: Any) -> Reply:
        return self._reply(200, self.orders[int(rest)]["certificate"])

    def _renewal(self, rest: str, payload: Any) -> Reply:
        assert self.window is not None
        window = (0.0, 60.0) if rest in self.early else self.window
        start, end = (EPOCH + timedelta(seconds=one) for one in window)
        span = {"start": start.isoformat(), "end": end.isoformat()}
        return self._reply(200, {"suggestedWindow": span}, retry_after="21600")

    def asked(self, kind: str) -> list[float]:
        """Return the moments of the requests of a kind."""
        return [moment for one, moment in self.requests if one == kind]


class Other:
    """A challenge type that anything proves."""

    def __init__(self, challenge_type: str) -> None:
        self.challenge_type = challenge_type

    def start_responding(self, *_: Any) -> None:
        pass

    def stop_responding(self, *_: Any) -> None:
        pass


class Machine:
    """A machine with ood's certificates on its disk: services come and go.

    :ivar panics: names of overdue certificates that could not be had.
    :ivar explained: names about which it was asked what may be wrong with them.
    """

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.ca = MemoryCa(self.clock)
        self.directory = directory
        self.http = HttpResponder()
        self.responders: list[Any] = [self.http]
        self.panics: list[str] = []
        self.explained: list[str] = []
        self.account = AccountKey.generate()
        self.url = f"{BASE}/dir"
        self.profile = ""
        self.store = DirectoryStore(directory / "acme")

    def start(self, *names: str) -> AcmeIssuingService:
        """Begin anew with what the disk has."""
        session = Session(self.ca, self.clock, self.ca.now, self.url, self.account)
        self.service = AcmeIssuingService(
            self.store,
            Client(session, self.clock),
            self.clock,
            self.responders,
            now=self.ca.now,
            journal=Journal(self.directory),
            profile=self.profile,
            panic=lambda failure, name: self.panics.append(name),
            diagnose=self.diagnose,
        )
        self.service.startService()
        self.service.want(names)
        return self.service

    def diagnose(self, name: str) -> Deferred[str]:
        self.explained.append(name)
        return succeed("it leads elsewhere")

    def turn(self, seconds: float, steps: int = 200) -> None:
        """Let time pass."""
        for _ in range(steps):
            self.clock.advance(seconds / steps)

    def end_of(self, name: str) -> float:
        """Return when a certificate ends, in seconds since EPOCH."""
        held = self.service.held[name]
        return held.leaf.span.end - EPOCH.timestamp()
