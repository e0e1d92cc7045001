from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.model.document import App
from ood.proxy.core.route import REMEMBERED_HOSTS_MAX, Table, normalise


def app(*domains: str, default: bool = False) -> App:
    return App(cwd="/", port=1, domains=domains, default=default)


class NormaliseTests(SynchronousTestCase):
    def test_spellings(self) -> None:
        """Case, port and the root's dot do not make another host."""
        for host in (b"example.com", b"EXAMPLE.com:8080", b"example.com.", b"Example.Com.:80"):
            self.assertEqual("example.com", normalise(host))

    def test_ipv6(self) -> None:
        self.assertEqual("[::1]", normalise(b"[::1]:80"))
        self.assertEqual("[::1]", normalise(b"[::1]"))

    @given(st.binary(max_size=300))
    def test_anything(self, host: bytes) -> None:
        """No bytes make it fail."""
        normalise(host)
        Table({"a": app(), "b": app()}).find(host)


class TableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = Table(
            {
                "example.com": app("www.example.com"),
                "wild": app("*.example.com"),
                "deep": app("*.deep.example.com"),
                "exact": app("x.deep.example.com"),
            }
        )

    def check(self, host: bytes, name: str | None) -> None:
        self.assertEqual(name, self.table.find(host))
        self.assertEqual(name, self.table.find(host), "remembered")

    def test_exact(self) -> None:
        """An app named like a host answers to it, and to its domains."""
        self.check(b"example.com", "example.com")
        self.check(b"WWW.example.com:81", "example.com")

    def test_wildcards(self) -> None:
        """One label or more; the longer one wins, an exact name over both."""
        self.check(b"a.example.com", "wild")
        self.check(b"a.b.example.com", "wild")
        self.check(b"a.deep.example.com", "deep")
        self.check(b"deep.example.com", "wild")
        self.check(b"x.deep.example.com", "exact")

    def test_localhost_names(self) -> None:
        self.check(b"wild.localhost", "wild")
        self.check(b"example.com.localhost:8080", "example.com")

    def test_nobody(self) -> None:
        """Without a default app an unknown or missing Host is nobody's."""
        self.check(b"other.org", None)
        self.check(b"notexample.com", None)
        self.assertIsNone(self.table.find(None))

    def test_default(self) -> None:
        table = Table({"a": app(), "b": app(default=True)})
        self.assertEqual("b", table.find(b"other.org"))
        self.assertEqual("b", table.find(None))
        self.assertEqual("a", table.find(b"a.localhost"))

    def test_the_only_app(self) -> None:
        """A single app gets everything without being told to."""
        self.assertEqual("a", Table({"a": app()}).find(b"203.0.113.9"))

    def test_no_app(self) -> None:
        self.assertIsNone(Table({}).find(b"a"))

    def test_memory_is_bounded(self) -> None:
        """Clients that make up hosts do not fill the memory."""
        for number in range(3 * REMEMBERED_HOSTS_MAX):
            self.table.find(b"%d.org" % number)
        self.assertLessEqual(len(self.table._known), REMEMBERED_HOSTS_MAX)
