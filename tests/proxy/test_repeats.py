"""Which requests may go to a second worker."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core.repeats import DEADLY_MAX, Repeats
from ood.proxy.core.request import Request, parse_request


def request(target: str = "/", method: str = "GET", fields: str = "") -> Request:
    head = f"{method} {target} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"
    parsed = parse_request(head.encode())
    assert parsed is not None
    return parsed


class RepeatsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.repeats = Repeats()

    def may(self, *arguments: str) -> bool:
        return self.repeats.may("shop", request(*arguments))

    def test_harmless(self) -> None:
        """Only what does no harm the second time, and has no body that would be gone."""
        self.assertTrue(self.may("/", "HEAD"))
        self.assertFalse(self.may("/", "POST"))
        self.assertFalse(self.may("/", "PUT", "Content-Length: 1\r\n"))

    def test_deadly(self) -> None:
        """What ended two is not repeated until it was answered; nothing else suffers."""
        self.repeats.ended_two("shop", request("/a?1"))
        self.assertFalse(self.may("/a?1"))
        for other in (("/a?2",), ("/a?1", "HEAD")):
            self.assertTrue(self.may(*other))
        self.assertTrue(self.repeats.may("blog", request("/a?1")))
        self.repeats.answered("blog", request("/a?1"))
        self.assertFalse(self.may("/a?1"))
        self.repeats.answered("shop", request("/a?1"))
        self.assertTrue(self.may("/a?1"))

    def test_bounded(self) -> None:
        """The oldest one is forgotten when there are many; one seen again is no old one."""
        for number in range(DEADLY_MAX):
            self.repeats.ended_two("shop", request(f"/{number}"))
        self.repeats.ended_two("shop", request("/0"))
        self.repeats.ended_two("shop", request("/new"))
        self.assertEqual([self.may(f"/{n}") for n in (0, 1, 2)], [False, True, False])
