"""Who is at the other end, checked before anything else is said.

The handshake is a call like any other, so every transport has it.  Both sides
name protocol version, cluster, id and incarnation; where the transport knows
the peer's certificate, that has to vouch for the id.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ood.raft.core.types import Identity
from ood.raft.errors import HandshakeError
from ood.raft.interfaces import IConnection
from ood.raft.wire import HELLO, PROTOCOL_VERSION, Hello, decode_hello, encode

# Who does not say who he is in this time is no member.
HELLO_SECONDS = 5.0


def check_hello(
    hello: Hello, cluster: str, names: frozenset[str] | None, expected: str | None = None
) -> None:
    """Raise unless the peer is who it should be.

    :param names: what its certificate vouches for; ``None`` without one.
    :param expected: the id that was connected to, if it is known.
    :raises HandshakeError: with the reason, for both sides' logs.
    """
    if hello.version != PROTOCOL_VERSION:
        raise HandshakeError(
            f"{hello.id} speaks version {hello.version} of the protocol, not {PROTOCOL_VERSION}",
            "run the same version of ood.raft on all members",
        )
    if hello.cluster != cluster:
        raise HandshakeError(
            f"{hello.id} belongs to cluster {hello.cluster!r}, not {cluster!r}",
            "check the addresses and the cluster's name",
        )
    if names is not None and hello.id.lower() not in names:
        raise HandshakeError(
            f"the certificate of {hello.id} names {', '.join(sorted(names)) or 'nobody'}",
            "give it one that has its id as a DNS name",
        )
    if expected is not None and hello.id != expected:
        raise HandshakeError(
            f"{hello.id} answers at the address of {expected}", "check the addresses"
        )


async def greet(
    connection: IConnection,
    own: Hello,
    clock: IReactorTime,
    expected: str | None = None,
) -> Hello:
    """Say who we are, return who answers.

    :raises HandshakeError: it is the wrong one; the connection is closed.
    """
    try:
        asked: Deferred[bytes] = connection.invoke(HELLO, encode(own))
        answer = await asked.addTimeout(HELLO_SECONDS, clock, onTimeoutCancel=_no_answer)
        hello = decode_hello(answer)
        check_hello(hello, own.cluster, getattr(connection, "names", None), expected)
    except Exception:
        _ = connection.close()
        raise
    return hello


def _no_answer(_: object, seconds: float) -> bytes:
    raise HandshakeError(f"no answer in {seconds:.1f} s", "the process may be paused")


def identity_of(hello: Hello) -> Identity:
    """Return the speaker as the core knows it."""
    return Identity(hello.cluster, hello.id, hello.incarnation)
