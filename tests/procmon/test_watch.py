"""An app whose files change; on a machine in memory, with the kernel's own inotify."""

from __future__ import annotations

from ood.procmon.core.watching import QUIET_SECONDS
from ood.procmon.roll import SETTLE_FIRST_SECONDS
from ood.procmon.watch import Watches
from tests.procmon.machine import ContainerTestCase, Node


class WatchTests(ContainerTestCase):
    """One app with one worker."""

    def setUp(self) -> None:
        super().setUp()
        self.watches = Watches()
        self.addCleanup(self.watches.converge, [])
        self.start()
        self.set_watch()

    def set_watch(self, value: bool = True) -> None:
        self.converge(watch=value)
        self.watches.converge([(self.container, self.rolls)])
        self.turn()

    def turn(self) -> None:
        for _ in range(5):
            self.clock.advance(0)
            self.machine.pump()

    def save(self, name: str = "server.js") -> None:
        (self.home / name).write_text("x")
        self.machine.pump()

    def rest(self) -> None:
        self.clock.advance(QUIET_SECONDS)

    def listen(self) -> Node:
        """The newest process comes up and stays."""
        node = self.machine.nodes[-1]
        node.listen()
        self.machine.pump()
        self.clock.advance(SETTLE_FIRST_SECONDS)
        return node

    def leave(self, number: int) -> None:
        """An old worker ends."""
        self.machine.nodes[number].exit()
        self.turn()

    def test_debounced(self) -> None:
        """Many changes are one restart; one after it is another one."""
        for name in ("a.js", "b.js", "a.js"):
            self.save(name)
            self.clock.advance(QUIET_SECONDS / 2)
        self.assertEqual(len(self.machine.nodes), 1)
        self.rest()
        self.assertEqual(len(self.machine.nodes), 2)
        self.assertIn("watch: a.js, b.js changed", self.logs.texts[-1])
        self.listen()
        self.leave(0)
        self.clock.advance(60)
        self.assertEqual(len(self.machine.nodes), 2)

    def test_changed_meanwhile(self) -> None:
        """What changes while a new worker comes up is run by one more restart, not by two."""
        self.save()
        self.rest()
        self.save()
        self.rest()
        self.save()
        self.rest()
        self.assertEqual(len(self.machine.nodes), 2)
        self.listen()
        self.leave(0)
        self.rest()
        self.assertEqual(len(self.machine.nodes), 3)
        self.listen()
        self.leave(1)
        self.clock.advance(60)
        self.assertEqual(len(self.machine.nodes), 3)

    def test_during_another_restart(self) -> None:
        """A restart that is under way began before the change: another one follows."""
        done = self.rolls.request()
        self.save()
        self.rest()
        self.assertEqual(len(self.machine.nodes), 2)
        self.listen()
        self.leave(0)
        self.successResultOf(done)
        self.assertEqual(len(self.machine.nodes), 3)
        self.listen()
        self.leave(1)

    def test_bad_files(self) -> None:
        """The old worker serves on, and the log tells why."""
        self.save()
        self.rest()
        self.machine.nodes[-1].exit(1)
        self.assertEqual(self.states(), ["online"])
        self.assertIn("exited with status 1", self.logs.texts[-1])
        self.assertIn("the old workers serve on", self.logs.texts[-1])

    def test_repair_of_a_crashing_app(self) -> None:
        """An app that waits for its next try is started at once when its files change."""
        self.machine.nodes[0].exit(1)
        for _ in range(8):
            self.machine.nodes[-1].exit(1)
            self.clock.advance(15)
        self.machine.nodes[-1].exit(1)
        count = len(self.machine.nodes)
        self.save()
        self.rest()
        self.assertEqual(len(self.machine.nodes), count + 1)
        self.listen()
        self.assertEqual(self.states(), ["online"])

    def test_off(self) -> None:
        """Switched off, nothing is watched; a change that waited is forgotten."""
        self.save()
        self.set_watch(False)
        readers = len(self.machine.readers)
        self.save()
        self.clock.advance(60)
        self.assertEqual(len(self.machine.nodes), 1)
        self.set_watch()
        self.assertEqual(len(self.machine.readers), readers + 1)

    def test_own_files(self) -> None:
        """What ood writes below the app's directory is no change; the same name elsewhere is."""
        (self.home / "lib").mkdir()
        (self.home / "lib/run").mkdir()
        self.container.context.run = self.home / "run"
        self.container.context.run.mkdir()
        self.set_watch(False)
        self.set_watch()
        (self.home / "run/x.js").write_text("x")
        self.turn()
        self.rest()
        self.assertEqual(len(self.machine.nodes), 1)
        self.save("lib/run/x.js")
        self.rest()
        self.assertEqual(len(self.machine.nodes), 2)

    def test_stopped(self) -> None:
        """A stopped app is not watched."""
        readers = len(self.machine.readers)
        self.converge(running=False)
        self.watches.converge([(self.container, self.rolls)])
        self.assertLess(len(self.machine.readers), readers)
