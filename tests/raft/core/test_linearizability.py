"""The checker of client histories, itself checked on histories known to be good or bad."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.raft.sim.linearizability import Call, linearizable, violations
from ood.raft.sim.registers import Operation, act


def call(text: str) -> Call:
    """Read ``0-3 put a`` or ``2-? get``: start-end, operation, value and result."""
    when, name, *rest = text.split()
    start, end = when.split("-")
    done = None if end == "?" else int(end)
    if name == "get":
        return Call(Operation("get", "k"), int(start), done, "".join(rest))
    if name == "swap":
        expected, value, result = rest
        operation = Operation("swap", "k", value, "" if expected == "-" else expected)
        return Call(operation, int(start), done, result == "yes")
    if name == "append":
        return Call(Operation("append", "k", rest[0]), int(start), done, int(rest[1]))
    return Call(Operation("put", "k", rest[0]), int(start), done, "")


GOOD = {
    "nothing": "",
    "one after the other": "0-1 put a, 2-3 get a, 4-5 put b, 6-7 get b",
    "a read during a write sees either": "0-1 put a, 2-9 put b, 3-4 get a, 5-6 get b",
    "a write without answer may have happened": "0-1 put a, 2-? put b, 3-4 get b",
    "or not": "0-1 put a, 2-? put b, 3-4 get a, 5-6 get a",
    "or much later": "0-1 put a, 2-? put b, 3-4 get a, 50-60 get b",
    "swaps in some order": "0-9 swap - a yes, 0-9 swap a b yes, 10-11 get b",
    "appends tell their place": "0-9 append x 1, 0-9 append y 0, 10-11 get yx",
    "a read without answer says nothing": "0-1 put a, 2-? get, 3-4 get a",
}

BAD = {
    "a stale read": "0-1 put a, 2-3 put b, 4-5 get a",
    "a read of what nobody wrote": "0-1 put a, 2-3 get c",
    "a lost write": "0-1 put a, 2-3 get",
    "back in time": "0-1 put a, 2-20 put b, 3-4 get b, 5-6 get a",
    "a write that comes back": "0-1 put a, 2-? put b, 3-4 get b, 5-6 put c, 7-8 get b",
    "both swaps of one value": "0-1 put a, 2-9 swap a b yes, 2-9 swap a c yes",
    "an append applied twice": "0-1 append x 0, 2-3 get xx",
    "an append of no effect": "0-1 append x 0, 2-3 append y 0",
    "a swap that must have worked": "0-1 put a, 2-3 swap a b no",
    "a future write": "0-1 get a, 2-3 put a",
}


def _read(text: str) -> list[Call]:
    return [call(part) for part in text.split(",") if part.strip()]


class KnownHistoryTests(SynchronousTestCase):
    """Histories whose verdict is known."""

    def test_good(self) -> None:
        """Every good history is accepted."""
        for name, text in GOOD.items():
            self.assertTrue(linearizable(_read(text)), name)

    def test_bad(self) -> None:
        """Every bad history is refused."""
        for name, text in BAD.items():
            self.assertFalse(linearizable(_read(text)), name)

    def test_keys_are_independent(self) -> None:
        """Only the key that is wrong is named."""
        good = Call(Operation("get", "other"), 0, 1, "")
        self.assertEqual(violations([good, *_read(BAD["a stale read"])]), ["k"])


class GeneratedHistoryTests(SynchronousTestCase):
    """Histories made from a true order."""

    @settings(max_examples=60, deadline=None, database=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(("put", "get", "append", "swap")),
                st.integers(0, 6),
                st.integers(0, 6),
                st.booleans(),
            ),
            max_size=12,
        )
    )
    def test_a_true_order_is_found(self, steps: list[tuple[str, int, int, bool]]) -> None:
        """Calls that took effect at one moment within their time are accepted."""
        value, calls = "", []
        for moment, (name, before, after, known) in enumerate(steps):
            operation = Operation(name, "k", str(moment), value if before % 2 else "?")
            value, result = act(value, operation)
            end = 10 * moment + 9 * after if known else None
            calls.append(Call(operation, 10 * moment - 9 * before, end, result))
        self.assertTrue(linearizable(calls))
