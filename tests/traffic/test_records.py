"""How requests stand in an access log, whatever clients send."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.traffic import records
from ood.traffic.records import Record

_QUOTED = rb'"(?:[^"\\]|\\x[0-9A-F]{2}|\\u\{[0-9A-F]+\})*"'
COMBINED = re.compile(
    rb"\A[^ ]+ - [^ ]+ \[[^\]]+\] %b \d{3} (?:\d+|-) %b %b\n\Z" % (_QUOTED, _QUOTED, _QUOTED)
)


def record(**fields: object) -> Record:
    values: dict[str, object] = {
        "time": 971_211_336.25,
        "client": "10.0.0.1",
        "method": "GET",
        "target": "/a?b=c",
        "version": "1.1",
        "status": 200,
        "size": 2326,
        "seconds": 0.0123456,
        "referer": "http://r/",
        "agent": "Mozilla/4.08 [en]",
        "host": "a.test",
        "app": "a",
        "via": "handoff",
        "worker": 1,
        "request_id": "7",
    }
    return Record(**{**values, **fields})  # type: ignore[arg-type]


class FormatTests(SynchronousTestCase):
    """Each format as others write it."""

    def test_combined(self) -> None:
        """The line that every program for web logs reads."""
        self.assertEqual(
            records.combined(record()),
            b'10.0.0.1 - - [10/Oct/2000:20:55:36 +0000] "GET /a?b=c HTTP/1.1" 200 2326 '
            b'"http://r/" "Mozilla/4.08 [en]"\n',
        )

    def test_common(self) -> None:
        """No referer and agent; no bytes is a dash."""
        self.assertEqual(
            records.common(record(size=0, status=304)),
            b'10.0.0.1 - - [10/Oct/2000:20:55:36 +0000] "GET /a?b=c HTTP/1.1" 304 -\n',
        )

    def test_user(self) -> None:
        """Who gave a password is named where the formats have a place for that."""
        for user, shown in (("ann", b"ann"), ('a b"\n', b"a\\x20b\\x22\\x0A")):
            start = b"10.0.0.1 - %b [10/Oct/2000:" % shown
            for write in (records.common, records.combined):
                self.assertTrue(write(record(user=user)).startswith(start))

    def test_json(self) -> None:
        """Everything that is known."""
        self.assertEqual(
            json.loads(records.as_json(record())),
            {
                "time": "2000-10-10T20:55:36.250Z",
                "client": "10.0.0.1",
                "user": "",
                "method": "GET",
                "target": "/a?b=c",
                "protocol": "HTTP/1.1",
                "status": 200,
                "bytes": 2326,
                "ms": 12.346,
                "referer": "http://r/",
                "userAgent": "Mozilla/4.08 [en]",
                "host": "a.test",
                "app": "a",
                "via": "handoff",
                "worker": 1,
                "requestId": "7",
            },
        )

    def test_time(self) -> None:
        """A line tells its time again, in every format; anything else has none."""
        for write in records.WRITERS.values():
            self.assertEqual(records.time_of(write(record()))[:19], "2000-10-10T20:55:36")
        for line in (b"", b"{", b"{}", b"{\xff}", b"[10/Xyz/2000:20:55:36 +0000]"):
            self.assertEqual(records.time_of(line), "", line)


class InjectionTests(SynchronousTestCase):
    """What clients choose can't leave its place."""

    @given(st.text(), st.text(), st.text(), st.text(), st.text())
    def test_one_line(self, target: str, referer: str, agent: str, client: str, user: str) -> None:
        """Whatever is sent, a record is one line of printable ASCII with its quotes in place."""
        one = record(target=target, referer=referer, agent=agent, client="x" + client, user=user)
        self.assertRegex(records.combined(one), COMBINED)
        for write in records.WRITERS.values():
            line = write(one) if not _lone(target + referer + agent + client + user) else b"\n"
            self.assertRegex(line, rb"\A[ -~]*\n\Z")

    @given(st.text(st.characters(blacklist_categories=["Cs"])))
    def test_json_is_faithful(self, text: str) -> None:
        """JSON gives back what was sent."""
        self.assertEqual(json.loads(records.as_json(record(agent=text)))["userAgent"], text)

    def test_escapes(self) -> None:
        """Bytes are shown in the way of nginx."""
        self.assertEqual(records.escape('a"b\\c\n\x1b\xe9 d'), "a\\x22b\\x5Cc\\x0A\\x1B\\xE9 d")


def _lone(text: str) -> bool:
    return any(0xD800 <= ord(character) < 0xE000 for character in text)
