"""Tests of :mod:`ood.configured`."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from ood.configured import Configured
from ood.events import Event, EventBus
from ood.model.document import App, Document, Settings


class ConfiguredTests(SynchronousTestCase):
    """What people change is told, and never a value."""

    def setUp(self) -> None:
        self.told: list[Event] = []
        bus = EventBus()
        bus.subscribe(self.told.append)
        self.document = Document(apps={"shop": App(cwd="/srv/shop", port=3001)})
        self.configured = Configured(bus, self.document)

    def change(self, **changes: object) -> list[tuple[str, str, list[str]]]:
        self.told.clear()
        self.document = msgspec.structs.replace(self.document, **changes)
        self.configured(self.document)
        self.assertLessEqual({event.kind for event in self.told}, {"configured"})
        return [(one.app, one.data["what"], one.data["keys"]) for one in self.told]

    def test_apps(self) -> None:
        """Each app that came, went or changed is one event, with the changed keys."""
        apps = dict(self.document.apps)
        apps["shop"] = msgspec.structs.replace(apps["shop"], env={"KEY": "s3cret"}, instances=2)
        apps["api"] = App(cwd="/srv/api", port=3002)
        expected = [("api", "added", []), ("shop", "changed", ["env", "instances"])]
        self.assertEqual(self.change(apps=apps), expected)
        self.assertNotIn(b"s3cret", msgspec.json.encode(self.told))
        self.assertEqual(self.change(apps={}), [("api", "removed", []), ("shop", "removed", [])])
        self.assertEqual(self.change(apps={}), [])

    def test_started(self) -> None:
        """A start reads as what it is."""
        shop = msgspec.structs.replace(self.document.apps["shop"], running=True)
        self.assertEqual(self.change(apps={"shop": shop}), [("shop", "changed", ["running"])])
        self.assertEqual(self.told[0].text, "shop was started")

    def test_settings(self) -> None:
        """Settings belong to no app."""
        changed = self.change(settings=Settings(http_port=81))
        self.assertEqual(changed, [("", "changed", ["httpPort"])])
