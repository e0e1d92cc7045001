"""A key-value store as a state machine: the whole of what is replicated.

Commands are msgpack arrays: ``["put", key, value]``, ``["delete", key]``,
``["append", key, value]``, ``["cas", key, expected, value]``.  Each returns
the key's value before the command (for ``cas``: whether it was done).
"""

from __future__ import annotations

from typing import Any

import msgspec

encode = msgspec.msgpack.encode
decode = msgspec.msgpack.decode


class KeyValue:
    """Keys and values in memory.

    ``apply`` is called with committed commands only, in the same order on every
    member, so it must depend on nothing but the command and the state.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def apply(self, command: bytes) -> Any:
        """Carry out one command."""
        name, key, *arguments = decode(command)
        before = self.values.get(key)
        if name == "put":
            self.values[key] = arguments[0]
        elif name == "delete":
            self.values.pop(key, None)
        elif name == "append":
            self.values[key] = (before or "") + arguments[0]
        elif name == "cas":
            expected, value = arguments
            if before == expected:
                self.values[key] = value
            return before == expected
        return before

    def query(self, key: bytes) -> Any:
        """Return a key's value; the node sees to it that it is up to date."""
        return self.values.get(key.decode())

    def snapshot(self) -> bytes:
        """Return everything."""
        return encode(self.values)

    def restore(self, snapshot: bytes) -> None:
        """Replace everything."""
        self.values = decode(snapshot)
