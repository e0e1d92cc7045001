"""The simulator's monitors: what they must notice, and what they must not take for a fault."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ood.raft.core.types import HardState
from ood.raft.sim.script import Script, ScriptError

LEAD_ALONE = """
nodes a
campaign a
settle
crash a
start a
hold a
campaign a
propose a x
expect a term 3
"""

LEAD_AGAIN = """
start a
campaign a
propose a y
expect a term 3
"""

ALONE_BY_CHANGE = """
nodes a b
campaign a
settle
hold a
change a voters=a
drop
inject HeartbeatReply source=b target=a term=3 round=0
campaign a
expect a role leader
expect a term 4
drop
"""

OTHER_LEADS = """
campaign b
settle
expect b term 3
crash b
start b
tick a 12
campaign b
settle
expect b role leader
expect b term 4
"""


class LostTermTests(SynchronousTestCase):
    """A term that a lone voter led, and its two entries (an empty one, a command)."""

    def test_in_memory_only(self) -> None:
        """What never was durable may come again with another command."""
        script = Script()
        script.run(LEAD_ALONE + "crash a" + LEAD_AGAIN)
        self.assertEqual(script.monitors.leaders, {2: "a.1", 3: "a.1"})

    def test_led_by_another(self) -> None:
        """The other half of two leads the term that one led in memory, alone by its own change."""
        script = Script()
        script.run(ALONE_BY_CHANGE)
        self.assertEqual(script.monitors.leaders, {2: "a.1", 4: "a.1"})
        script.run("crash a\nstart a\nexpect a term 2" + OTHER_LEADS)
        self.assertEqual(script.monitors.leaders, {2: "a.1", 3: "b.1", 4: "b.1"})

    def test_durable(self) -> None:
        """A disk that takes back what it had saved before the crash is noticed."""
        script = Script()
        script.run(LEAD_ALONE + "crash a 2")
        disk = script.members["a"].disk
        self.assertEqual(disk.last_term, 3)
        disk.hard_state = HardState(2, "a", 2)
        disk.entries = [entry for entry in disk.entries if entry.term < 3]
        with self.assertRaisesRegex(ScriptError, "log matching"):
            script.run(LEAD_AGAIN)

    def test_torn(self) -> None:
        """Entries without the term they came with keep the term in mind, too."""
        script = Script()
        script.run(LEAD_ALONE + "crash a 0 2")
        disk = script.members["a"].disk
        self.assertEqual((disk.hard_state.term, disk.last_term), (2, 3))
        disk.entries.pop()
        with self.assertRaisesRegex(ScriptError, "log matching"):
            script.run(LEAD_AGAIN)
