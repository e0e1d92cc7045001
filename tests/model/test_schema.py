"""Validation: every fault at once, each with its key and what is allowed."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.errors import InvalidError
from ood.model import kinds
from ood.model.document import App, Document, Settings, to_plain
from ood.model.schema import (
    APP_KEYS,
    AT_START,
    SETTINGS_KEYS,
    changed_app,
    check_app,
    check_document,
    check_together,
)
from ood.model.units import format_duration_ms, parse_duration_ms, parse_size_bytes

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def keys_of(error):
    return {fault.key for fault in error.faults}


class Units(SynchronousTestCase):
    """Durations and sizes."""

    def test_durations(self):
        """Each unit, and a bare number as milliseconds."""
        for text, milliseconds in (
            ("10", 10), ("10ms", 10), ("10s", 10_000), ("1.5m", 90_000), ("2 h", 7_200_000),
        ):  # fmt: skip
            self.assertEqual(parse_duration_ms(text), milliseconds)
        for text in ("", "s", "-1", "1w", "1s2", "٣x"):
            self.assertRaises(ValueError, parse_duration_ms, text)

    @given(st.integers(0, kinds.DURATION_MS_MAX))
    def test_durations_read_back(self, milliseconds):
        """What is shown is exact."""
        self.assertEqual(parse_duration_ms(format_duration_ms(milliseconds)), milliseconds)

    def test_sizes(self):
        """K is 1024, as memory limits are meant."""
        self.assertEqual(parse_size_bytes("300M"), 300 << 20)
        self.assertEqual(parse_size_bytes("64KiB"), 64 << 10)
        self.assertEqual(parse_size_bytes("1.5g"), 3 << 29)
        self.assertRaises(ValueError, parse_size_bytes, "1T")


class Tables(SynchronousTestCase):
    """The tables and the structs say the same."""

    def test_every_field_has_a_key(self):
        """No key without a field, no field without a key."""
        for struct, table in ((App, APP_KEYS), (Settings, SETTINGS_KEYS)):
            names = {field.encode_name for field in msgspec.structs.fields(struct)}
            self.assertEqual(names, set(table))

    def test_defaults_are_allowed(self):
        """Every default would be accepted if a user wrote it."""
        for field in msgspec.structs.fields(App):
            if not field.required and field.default not in (None, ""):
                default = (
                    field.default_factory() if field.default is msgspec.NODEFAULT else field.default
                )
                APP_KEYS[field.encode_name].kind.parse(msgspec.to_builtins(default))


class AtStart(SynchronousTestCase):
    """Settings that take effect late."""

    def test_said(self) -> None:
        """They are those whose description says so."""
        said = {key for key, one in SETTINGS_KEYS.items() if "the next start of the" in one.doc}
        self.assertEqual(AT_START, said)


class Faults(SynchronousTestCase):
    """What is refused, and how."""

    def test_all_at_once(self):
        """One error names every fault of the whole document with its path."""
        error = self.assertRaises(
            InvalidError,
            check_document,
            {
                "setings": {},
                "settings": {"httpPort": 99999, "apiport": 1},
                "apps": {"a b": {"cwd": "relative", "port": 1}, "b": {"instances": "many"}},
            },
        )
        self.assertEqual(
            keys_of(error),
            {
                "setings",
                "settings.httpPort",
                "settings.apiport",
                "apps.a b",
                "apps.a b.cwd",
                "apps.b.instances",
                "apps.b.cwd",
                "apps.b.port",
            },
        )
        self.assertIn("did you mean apiPort?", str(error))

    def test_together(self):
        """Ports, hosts and the default are exclusive."""
        app = {"cwd": "/srv"}
        error = self.assertRaises(
            InvalidError,
            check_document,
            {
                "apps": {
                    "a.example": {**app, "port": 3001, "default": True},
                    "b": {**app, "port": 3001, "domains": ["A.example"], "default": True},
                    "c": {**app, "port": 2016},
                }
            },
        )
        self.assertEqual(
            keys_of(error),
            {"apps.b.port", "apps.b.domains", "apps.b.default", "apps.c.port"},
        )

    def test_circle(self):
        """Apps that wait for one another are named; one that is not there is no obstacle."""
        plain = {
            "a": {"dependsOn": ["b", "gone"]},
            "b": {"dependsOn": "c"},
            "c": {"dependsOn": ["b"]},
        }
        apps = {
            name: {"cwd": "/srv", "port": 3001 + number, **app}
            for number, (name, app) in enumerate(plain.items())
        }
        with self.assertRaises(InvalidError) as caught:
            check_document({"apps": apps})
        self.assertEqual(keys_of(caught.exception), {"apps.b.dependsOn", "apps.c.dependsOn"})
        apps["c"].pop("dependsOn")
        check_document({"apps": apps})

    def test_calendar(self):
        """A cron expression has to name moments that there are."""
        app = check_app("x", {"cwd": "/srv", "port": 3001, "cronRestart": " 0  4 * * 1-5 "})
        self.assertEqual(app.cron_restart, "0 4 * * 1-5")
        for wrong in ("", "4", "0 25 * * *", "0 0 30 2 *", "@daily"):
            with self.assertRaises(InvalidError):
                check_app("x", {"cwd": "/srv", "port": 3001, "cronRestart": wrong})

    def test_newer_schema(self):
        """A document of a newer ood is refused by its version, not by its keys."""
        error = self.assertRaises(InvalidError, check_document, {"schema": 2, "new": 1})
        self.assertEqual(keys_of(error), {"schema"})

    def test_deep_nesting(self):
        """JSON nested beyond what can be read is refused like any other that is not right."""
        for key, text in (("args", "[" * 100_000), ("env", '{"a":' * 100_000)):
            plain = {"cwd": "/srv", "port": 3001, key: text}
            error = self.assertRaises(InvalidError, check_app, "x", plain)
            self.assertEqual(keys_of(error), {key})

    @given(plain_values)
    def test_anything_gets_an_answer(self, plain):
        """Any JSON value is taken or refused with InvalidError, never otherwise."""
        try:
            document = check_document(plain)
        except InvalidError as error:
            self.assertTrue(error.faults)
        else:
            self.assertIsInstance(document, Document)

    @given(st.sampled_from(sorted(APP_KEYS)), plain_values)
    def test_any_value_of_any_key(self, key, value):
        """An accepted value is stored in a form that is accepted again, unchanged."""
        plain = {"cwd": "/srv", "port": 3001, key: value}
        try:
            app = check_app("x", plain)
        except InvalidError as error:
            self.assertEqual(keys_of(error), {key})
        else:
            self.assertEqual(check_app("x", json.loads(json.dumps(to_plain(app)))), app)


class CommandLine(SynchronousTestCase):
    """Values as texts, the way ``ood config --set`` gets them."""

    def test_texts(self):
        """Each kind reads the text a person would write."""
        app = App(cwd="/srv", port=3001, env={"OLD": "1"})
        changed = changed_app(
            "x",
            app,
            {
                "port": "3005",
                "default": "yes",
                "domains": "a.example, *.b.example",
                "args": "--name 'two words'",
                "instances": "max",
                "env.NEW": "a=b",
                "env.OLD": None,
            },
        )
        self.assertEqual(changed.port, 3005)
        self.assertTrue(changed.default)
        self.assertEqual(changed.domains, ("a.example", "*.b.example"))
        self.assertEqual(changed.args, ("--name", "two words"))
        self.assertEqual(changed.instances, "max")
        self.assertEqual(changed.env, {"NEW": "a=b"})

    def test_unset(self):
        """A key that there is not can't be put back; an entry that is not there is no fault."""
        app = App(cwd="/srv", port=3001)
        with self.assertRaises(InvalidError) as caught:
            changed_app("x", app, {"domain": None})
        self.assertIn("did you mean domains", str(caught.exception))
        self.assertEqual(changed_app("x", app, {"env.GONE": None}), app)
        # JSON's objects have no order: a whole value and an entry of it mean the same in any.
        for changes in ({"env": None, "env.A": "1"}, {"env.A": "1", "env": None}):
            self.assertEqual(changed_app("x", app, changes).env, {"A": "1"})
        both = {"env.A": [], "env": None}
        self.assertRaises(InvalidError, changed_app, "x", app, both)

    def test_international_name(self):
        """A name with umlauts becomes what a browser sends."""
        app = check_app("x", {"cwd": "/srv", "port": 1, "domains": ["Bücher.example"]})
        self.assertEqual(app.domains, ("xn--bcher-kva.example",))
        for name, there in (
            ("straße.example", "xn--strae-oqa.example"),
            ("*.Straße.example", "*.xn--strae-oqa.example"),
            ("☃.example", "xn--n3h.example"),
        ):
            app = check_app("x", {"cwd": "/srv", "port": 1, "domains": [name]})
            self.assertEqual(app.domains, (there,))
        for wrong in ("bü cher.example", "ü..example", f"{'ü' * 80}.example", "\u200d.example"):
            with self.assertRaises(InvalidError):
                check_app("x", {"cwd": "/srv", "port": 1, "domains": [wrong]})

    def test_hosts(self):
        """An app named like a host answers to it; each one to NAME.localhost."""
        app = App(cwd="/srv", port=3001, domains=("www.a.example",))
        self.assertEqual(
            app.hosts("a.example"), ("a.example", "www.a.example", "a.example.localhost")
        )
        self.assertEqual(app.hosts("shop"), ("www.a.example", "shop.localhost"))

    def test_free_port(self):
        """The first port that no app has."""
        document = Document(apps={"x": App(cwd="/srv", port=3001)})
        self.assertEqual(document.free_port(), 3002)
        self.assertEqual(document.free_port(lambda port: port > 3002), 3003)
        check_together(document)


SERVICE = {"host": "10.0.0.1", "port": 80, "servers": [{"host": "10.0.1.1", "port": 80}]}


class Services(SynchronousTestCase):
    """The balancer's services in the document."""

    def test_read_back(self):
        """Only what differs from a default is written, and it reads back as it was."""
        document = check_document({"services": [SERVICE]})
        written = json.loads(msgspec.json.encode(document))
        self.assertEqual(written["services"], [SERVICE])
        self.assertEqual(check_document(to_plain(document)), document)
        check = {"type": "http", "path": "/up", "interval": 2.5}
        more = {"persistence": 60, "flags": ["sh-port"], "drain": 0, "check": check}
        server = {"app": "shop.example", "weight": 3, "upper_threshold": 9}
        document = check_document({"services": [{**SERVICE, **more, "servers": [server]}]})
        self.assertEqual(check_document(json.loads(msgspec.json.encode(document))), document)

    def test_every_fault(self):
        """Each with its whole path, together with those of the rest of the document."""
        wrong = {"host": "x", "port": 0, "servers": [{"host": "10.0.1.1", "port": "http"}]}
        plain = {"settings": {"apiPort": 0}, "services": [SERVICE, wrong]}
        error = self.assertRaises(InvalidError, check_document, plain)
        self.assertEqual(
            keys_of(error),
            {
                "settings.apiPort",
                "services[1].host",
                "services[1].port",
                "services[1].servers[0].port",
            },
        )
        error = self.assertRaises(InvalidError, check_document, {"services": [SERVICE, SERVICE]})
        self.assertEqual(keys_of(error), {"services[1]"})
        error = self.assertRaises(InvalidError, check_document, {"services": {}})
        self.assertEqual(keys_of(error), {"services"})
