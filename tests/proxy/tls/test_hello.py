from __future__ import annotations

import contextlib
import ssl

from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ood.interfaces import ICertificates
from ood.proxy.core.hello import HELLO_BYTES_MAX, Hello, HelloError, read_hello
from ood.proxy.tls.contexts import make_context
from ood.testing.certificates import FakeCertificates
from tests.proxy.tls.support import SITE


def hello(host: str | None = "site.localhost", *alpn: str) -> bytes:
    """Return what OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname = host is not None
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def in_records(data: bytes, size: int) -> bytes:
    """Return a message that came in one record in several ones."""
    message = data[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(one).to_bytes(2, "big") + one for one in pieces)


def openssl_reads(data: bytes) -> tuple[bytes | None, list[bytes]] | None:
    """Return the name and the protocols as OpenSSL understands them; None if it refuses."""
    offered: list[bytes] = []

    def choose(_: SSL.Connection, protocols: list[bytes]) -> bytes:
        offered.extend(protocols)
        return protocols[0]

    names: list[bytes | None] = []
    context = make_context(SITE, choose)
    context.set_tlsext_servername_callback(lambda one: names.append(one.get_servername()))
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    connection.bio_write(data)
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return (names[-1] if names else None), offered
    except SSL.Error:
        return None
    raise AssertionError("a handshake in one message")


class HelloTests(SynchronousTestCase):
    def test_names_and_protocols(self) -> None:
        read = read_hello(hello("Site.Localhost", "h2", "http/1.1"))
        self.assertEqual(Hello("site.localhost", (b"h2", b"http/1.1")), read)
        self.assertEqual(Hello("", ()), read_hello(hello(None)))

    def test_every_beginning_is_incomplete(self) -> None:
        data = hello()
        for size in range(1, len(data)):
            self.assertIsNone(read_hello(data[:size]))

    def test_several_records(self) -> None:
        """The message may come in any number of records."""
        data = hello("site.localhost", "h2")
        for size in (1, 2, 3, 4, 5, 60, 250):
            self.assertEqual(read_hello(data), read_hello(in_records(data, size)))

    def test_too_long(self) -> None:
        """What does not end is refused as soon as it is longer than anybody's."""
        endless = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + bytes(HELLO_BYTES_MAX)
        self.assertRaises(HelloError, read_hello, endless[:HELLO_BYTES_MAX])
        announced = b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"
        self.assertRaises(HelloError, read_hello, announced)

    def test_addresses(self) -> None:
        """An address as the name is as good as none: clients that are told one send it."""
        for address in (b"192.168.10.250", b"2001:db8::ab:1", b"[fe80::ab:cde]"):
            data = hello("site.localhost").replace(b"site.localhost", address)
            read = read_hello(data)
            assert read is not None
            self.assertEqual("", read.server_name)

    def test_odd_names(self) -> None:
        """A name that is no host's is refused, however it is odd."""
        plain = hello("site.localhost")
        for odd in (
            b"site\0localhost",
            b"site localhost",
            b"..te.localhost",
            b"s\xc3\xbcte.localhos",
        ):
            data = plain.replace(b"site.localhost", odd[:14].ljust(14, b"\x7f"))
            with self.assertRaises(HelloError) as caught:
                read_hello(data)
            self.assertEqual(112, caught.exception.alert)

    @given(st.binary(max_size=400))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever comes, there is an answer, and the only error is that it is malformed."""
        with contextlib.suppress(HelloError):
            read_hello(b"\x16\x03\x01" + data)

    @given(st.data())
    def test_as_openssl_reads_it(self, data: st.DataObject) -> None:
        """What both take, both understand the same way, whatever is changed in a real message."""
        message = bytearray(hello("site.localhost", "h2", "http/1.1"))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(5, len(message) - 1))
            message[at] = data.draw(st.integers(0, 255))
        theirs = openssl_reads(bytes(message))
        try:
            ours = read_hello(bytes(message))
        except HelloError:
            return
        if theirs is None or ours is None:
            return
        name, protocols = theirs
        self.assertEqual((name or b"").lower().removesuffix(b".").decode(), ours.server_name)
        self.assertEqual(tuple(protocols), ours.protocols)

    def test_fake_certificates(self) -> None:
        verifyObject(ICertificates, FakeCertificates())
