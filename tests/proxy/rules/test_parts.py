"""The parts of the rules, each alone."""

from __future__ import annotations

import base64
import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.model import passwords
from ood.model.passwords import make_hash
from ood.proxy.core.forward import Peer
from ood.proxy.core.rules import auth, rate
from ood.proxy.core.rules.auth import Check, Credentials, Door, Verdicts, credentials
from ood.proxy.core.rules.forwarded import real_peer
from ood.proxy.core.rules.headers import FieldChange
from ood.proxy.core.rules.networks import Access, among
from ood.proxy.core.rules.proxyprotocol import Greeting, read_greeting
from ood.proxy.core.rules.rate import RateLimit
from ood.proxy.core.rules.trace import named

V2 = b"\r\n\r\n\0\r\nQUIT\n"


class NetworkTests(SynchronousTestCase):
    def test_longest(self) -> None:
        """The longest network decides, wherever it is written; of equal ones, deny."""
        access = Access(
            ["10.0.0.0/8", "10.1.2.0/24", "10.9.0.0/16"], ["10.1.0.0/16", "10.9.0.0/16"]
        )
        for address, enters in (
            ("10.2.3.4", True), ("10.1.3.4", False), ("10.1.2.4", True), ("10.9.9.9", False),
            ("192.0.2.1", False), ("::ffff:10.2.3.4", True), ("2001:db8::1", False), ("", False),
        ):  # fmt: skip
            self.assertEqual(enters, access.enters(address), address)

    def test_deny_only(self) -> None:
        """Without an allow, everybody else enters."""
        access = Access([], ["2001:db8::/32"])
        self.assertFalse(access.enters("2001:db8::1"))
        self.assertTrue(access.enters("2001:db9::1"))
        self.assertTrue(access.enters("192.0.2.1"))

    @given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=8),
           st.integers(0, 2**32 - 1))  # fmt: skip
    def test_as_ipaddress(self, networks: list[tuple[int, int]], number: int) -> None:
        """It says what a plain search says."""
        texts = [str(ipaddress.ip_network((base, size), strict=False)) for base, size in networks]
        address = ipaddress.ip_address(number)
        expected = any(address in ipaddress.ip_network(text) for text in texts)
        self.assertEqual(expected, among(texts).find(str(address)) is not None)


class RateTests(SynchronousTestCase):
    def test_burst_then_rate(self) -> None:
        """As many as the burst at once, then one for each interval, and it fills up again."""
        limit = RateLimit(10, 1, 3)
        self.assertEqual([0, 0, 0], [limit.take("a", 0) for _ in range(3)])
        self.assertAlmostEqual(0.1, limit.take("a", 0))
        self.assertEqual(0, limit.take("b", 0), "another client")
        self.assertEqual(0, limit.take("a", 0.1))
        self.assertGreater(limit.take("a", 0.1), 0)
        self.assertEqual([0, 0, 0], [limit.take("a", 9) for _ in range(3)])
        self.assertGreater(limit.take("a", 9), 0)

    def test_refusals_are_free(self) -> None:
        """Who goes on asking gets in at the same time as who waits."""
        limit = RateLimit(1, 1, 1)
        limit.take("a", 0)
        for number in range(100):
            limit.take("a", number / 101)
        self.assertEqual(0, limit.take("a", 1))

    def test_clients(self) -> None:
        """An IPv6 client is its /64, an IPv4 one in IPv6 is itself."""
        self.assertEqual(rate.client_key("2001:db8::1"), rate.client_key("2001:db8::2:3"))
        self.assertNotEqual(rate.client_key("2001:db8::1"), rate.client_key("2001:db8:0:1::1"))
        self.assertEqual("192.0.2.1", rate.client_key("::ffff:192.0.2.1"))

    def test_bounded(self) -> None:
        """Any number of clients takes bounded memory; those who ask stay known."""
        self.patch(rate, "CLIENTS_MAX", 10)
        limit = RateLimit(1, 1, 2)
        for number in range(100):
            limit.take(str(number), number / 1000)
            if number % 5 == 0:
                limit.take("busy", number / 1000)
        self.assertEqual(10, len(limit))
        self.assertGreater(limit.take("busy", 0.1), 0)


class FieldChangeTests(SynchronousTestCase):
    FIELDS = b"Server: x\r\nX-A: 1\r\nx-a: 2\r\nX_A: 3\r\nX-AB: 4\r\n"

    def test_set_and_remove(self) -> None:
        """Every field of the name goes, whatever its case; others stay."""
        change = FieldChange({"X-A": "new", "server": ""})
        self.assertEqual(b"X_A: 3\r\nX-AB: 4\r\nX-A: new\r\n", change.apply(self.FIELDS))

    def test_kin(self) -> None:
        """On the way to an app X_A is X-A."""
        change = FieldChange({"X-A": "new"}, kin=True)
        self.assertEqual(b"Server: x\r\nX-AB: 4\r\nX-A: new\r\n", change.apply(self.FIELDS))


def basic(text: str) -> bytes:
    return b"Authorization: Basic " + base64.b64encode(text.encode()) + b"\r\n"


class AuthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(passwords, "COST_LOG2", 10)
        self.users = {"ann": make_hash(b"secret", b"0123456789abcdef")}
        self.verdicts = Verdicts(b"x" * 32)

    def enter(self, text: str, door: Door | None = None) -> bool:
        given = credentials(basic(text))
        assert given is not None
        door = door or Door(self.users, ())
        check = door.check(given, self.verdicts)
        assert isinstance(check, Check)
        verdict = check.verify()
        self.verdicts.remember(check.key, verdict)
        self.assertEqual(verdict, door.check(given, self.verdicts), "remembered")
        return verdict

    def test_verdicts(self) -> None:
        """Right is right, and nothing else is; each is asked once."""
        for text, right in (
            ("ann:secret", True),
            ("ann:Secret", False),
            ("bob:secret", False),
            ("ann:", False),
            (":secret", False),
            ("ann:secret:", False),
        ):
            self.assertEqual(right, self.enter(text), text)

    def test_a_changed_password(self) -> None:
        """With a new hash the old password's verdict is worth nothing."""
        self.assertTrue(self.enter("ann:secret"))
        users = {"ann": make_hash(b"other", b"0123456789abcdef")}
        self.assertFalse(self.enter("ann:secret", Door(users, ())))

    def test_nobody_costs_the_same(self) -> None:
        """A name that there is not is checked with the same cost."""
        check = Door(self.users, ()).check(Credentials("bob", b"x"), self.verdicts)
        assert isinstance(check, Check)
        self.assertTrue(check.stored.startswith("$scrypt$ln=10,r=8,p=1$"))

    def test_fields(self) -> None:
        """What is not exactly one Basic field is nothing."""
        self.assertEqual(Credentials("ann", b"a:b"), credentials(b"X: y\r\n" + basic("ann:a:b")))
        self.assertEqual(Credentials("jürgen", b"x"), credentials(basic("jürgen:x")))
        for fields in (
            b"", basic("ann:x") * 2, b"Authorization: Bearer abc\r\n", basic("no colon"),
            b"Authorization: Basic ????\r\n", b"Authorization: Basic a\r\n",
            b"X-Authorization: Basic YTpi\r\n", basic("a:" + "b" * 2000),
        ):  # fmt: skip
            self.assertIsNone(credentials(fields), fields)

    def test_removed(self) -> None:
        fields = b"A: 1\r\n" + basic("a:b") + b"B: 2\r\n"
        self.assertEqual(b"A: 1\r\nB: 2\r\n", auth.without_credentials(fields))
        self.assertEqual(b"", auth.without_credentials(basic("a:b")))

    def test_bounded(self) -> None:
        """The oldest verdict makes room."""
        self.patch(auth, "VERDICTS_MAX", 3)
        for number in range(4):
            self.verdicts.remember(b"%d" % number, verdict=False)
            self.verdicts.find(b"0")
        self.assertEqual([False, None, False, False],
                         [self.verdicts.find(b"%d" % number) for number in range(4)])  # fmt: skip

    def test_paths(self) -> None:
        door = Door(self.users, ["/admin"])
        self.assertTrue(door.guards(b"/admin/x"))
        self.assertFalse(door.guards(b"/administration"))
        self.assertTrue(Door(self.users, ["/"]).guards(b"/x"))


class ForwardedTests(SynchronousTestCase):
    TRUSTED = among(["10.0.0.0/8", "2001:db8::/32"])
    PEER = Peer("10.0.0.1", 999, b"http", 80)

    def read(self, *lines: str) -> Peer:
        return real_peer(self.PEER, "".join(f"{one}\r\n" for one in lines).encode(), self.TRUSTED)

    def test_right_to_left(self) -> None:
        """The first address that is no trusted proxy is the client; what is left of it is talk."""
        for value, address in (
            ("192.0.2.1", "192.0.2.1"),
            ("6.6.6.6, 192.0.2.1", "192.0.2.1"),
            ("6.6.6.6, 192.0.2.1, 10.1.1.1,10.2.2.2", "192.0.2.1"),
            ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
            ("6.6.6.6, unknown, 10.2.2.2", "10.2.2.2"),
            ("6.6.6.6, <script>", "10.0.0.1"),
            ("", "10.0.0.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("[2001:db9::1]:4711", "2001:db9::1"),
            ("2001:db9::1", "2001:db9::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ):
            self.assertEqual(address, self.read(f"X-Forwarded-For: {value}").address, value)

    def test_two_lines(self) -> None:
        peer = self.read("X-Forwarded-For: 6.6.6.6", "A: b", "x-forwarded-for: 192.0.2.1")
        self.assertEqual("192.0.2.1", peer.address)

    def test_scheme_host_port(self) -> None:
        """What the trusted proxy says of the rest is taken, where it makes sense."""
        peer = self.read("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https",
                         "X-Forwarded-Host: shop.example")  # fmt: skip
        self.assertEqual(
            (b"https", b"shop.example", 443), (peer.scheme, peer.host, peer.local_port)
        )
        self.assertTrue(peer.told)
        peer = self.read(
            "X-Forwarded-Proto: gopher", 'X-Forwarded-Host: a"b', "X-Forwarded-Port: 8"
        )
        self.assertEqual((b"http", b"", 8), (peer.scheme, peer.host, peer.local_port))
        peer = self.read("X-Forwarded-For: 192.0.2.1, 10.1.1.1", "X-Forwarded-Proto: https, http")
        self.assertEqual(b"https", peer.scheme)

    def test_forwarded(self) -> None:
        """RFC 7239, where there is no X-Forwarded-For."""
        peer = self.read(
            'Forwarded: for=6.6.6.6, for="[2001:db9::1]:4711";proto=https;host=a.example',
            "Forwarded: for=10.2.2.2",
        )
        self.assertEqual(("2001:db9::1", 4711), (peer.address, peer.port))
        self.assertEqual((b"https", b"a.example"), (peer.scheme, peer.host))
        self.assertEqual("10.0.0.1", self.read("Forwarded: for=_hidden").address)
        self.assertEqual("10.0.0.1", self.read('Forwarded: for="unclosed').address)

    @given(
        st.lists(
            st.sampled_from(
                [
                    "for=",
                    "1.2.3.4",
                    "10.1.1.1",
                    '"',
                    ",",
                    ";",
                    "proto=https",
                    "[::1]",
                    ":5",
                    " ",
                    "unknown",
                    "\\",
                ]
            ),
            max_size=12,
        )
    )
    def test_anything(self, parts: list[str]) -> None:
        """No value makes it fail, and the answer is an address."""
        for name in ("X-Forwarded-For", "Forwarded"):
            ipaddress.ip_address(self.read(f"{name}: {''.join(parts)}").address)


class ProxyProtocolTests(SynchronousTestCase):
    V4 = V2 + b"\x21\x11\x00\x0c" + bytes((192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80))
    V6 = V2 + b"\x21\x21\x00\x24" + ipaddress.ip_address("2001:db8::1").packed * 2 + b"\1\2\0\x50"

    def test_version_1(self) -> None:
        line = b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n"
        self.assertEqual(Greeting(len(line), "192.0.2.1", 4660), read_greeting(line + b"GET /"))
        line = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 80\r\n"
        self.assertEqual(Greeting(len(line), "2001:db8::1", 1), read_greeting(line))
        line = b"PROXY UNKNOWN whatever\r\n"
        self.assertEqual(Greeting(len(line)), read_greeting(line + b"x"))

    def test_version_2(self) -> None:
        self.assertEqual(Greeting(28, "192.0.2.1", 0x1234), read_greeting(self.V4 + b"GET"))
        self.assertEqual(Greeting(52, "2001:db8::1", 0x0102), read_greeting(self.V6))
        more = V2 + b"\x21\x11\x00\x10" + self.V4[16:] + b"\x04\x00\x01x"
        self.assertEqual(Greeting(32, "192.0.2.1", 0x1234), read_greeting(more + b"GET"))
        self.assertEqual(Greeting(16), read_greeting(V2 + b"\x20\0\0\0"), "LOCAL")
        self.assertEqual(Greeting(18), read_greeting(V2 + b"\x21\0\0\2xx"), "UNSPEC")

    def test_in_pieces(self) -> None:
        """Every beginning of a header is one that is waited for."""
        for whole in (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n", self.V4, self.V6):
            for size in range(1, len(whole)):
                self.assertIsNone(read_greeting(whole[:size]), whole[:size])
            self.assertIsNotNone(read_greeting(whole))

    def test_refused(self) -> None:
        for data in (
            b"GET / HTTP/1.1\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 80\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 99999 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            b"PROXY " + b"x" * 200,
            V2 + b"\x11\x11\0\x0c" + bytes(12),
            V2 + b"\x22\x11\0\x0c" + bytes(12),
            V2 + b"\x21\x12\0\x0c" + bytes(12),
            V2 + b"\x21\x11\0\x04" + bytes(4),
            V2 + b"\x21\x11\xff\xff",
            b"\x16\x03\x01",
        ):
            self.assertRaises(ValueError, read_greeting, data)

    @given(st.binary(max_size=60))
    def test_anything(self, tail: bytes) -> None:
        for head in (V2 + b"\x21", V2, b"PROXY ", b""):
            try:
                greeting = read_greeting(head + tail) if head + tail else None
            except ValueError:
                continue
            self.assertTrue(greeting is None or greeting.length <= len(head + tail))


class TraceTests(SynchronousTestCase):
    PARENT = b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01\r\n"

    def named(self, fields: bytes, *, trusted: bool = False) -> bytes:
        return named(fields, trusted=trusted, fresh=lambda count: "1" * 2 * count)

    def test_fresh(self) -> None:
        self.assertEqual(
            b"A: b\r\nX-Request-Id: %b\r\ntraceparent: 00-%b-%b-01\r\n"
            % (b"1" * 32, b"1" * 32, b"1" * 16),
            self.named(b"A: b\r\n"),
        )

    def test_ids(self) -> None:
        """A client can't choose its id, a trusted proxy can, if it is sane."""
        given = b"x-request-id: abc-1\r\n"
        self.assertNotIn(b"abc-1", self.named(given))
        self.assertIn(given, self.named(given, trusted=True))
        for line in (b"X-Request-Id: a b\r\n", given * 2, b"X-Request-Id: \r\n"):
            self.assertEqual(1, self.named(line, trusted=True).count(b"X-Request-Id: 1111"))

    def test_parents(self) -> None:
        """A valid trace goes on, with its state; an invalid one begins anew without."""
        fields = self.PARENT + b"tracestate: a=b\r\n"
        self.assertTrue(self.named(fields).startswith(fields))
        for broken in (
            self.PARENT * 2, self.PARENT.replace(b"a", b"0"), self.PARENT.replace(b"b", b"0"),
            self.PARENT.replace(b"00-", b"ff-"), self.PARENT.replace(b"-01", b"-01-x"),
            self.PARENT.upper(), b"traceparent: x\r\n",
        ):  # fmt: skip
            after = self.named(broken + b"tracestate: a=b\r\n")
            self.assertEqual(1, after.lower().count(b"traceparent"), broken)
            self.assertNotIn(b"tracestate", after)
        later = self.PARENT.replace(b"00-", b"01-").replace(b"-01\r", b"-01-more\r")
        self.assertIn(later, self.named(later))
