"""The state machine of the simulator: registers that clients put, append to and swap."""

from __future__ import annotations

from typing import Any

import msgspec


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """What a client does to one register.

    :ivar name: get, put, append or swap (if it holds ``expected``).
    """

    name: str
    key: str
    value: str = ""
    expected: str = ""


_decoder = msgspec.msgpack.Decoder(Operation)


def encode(operation: Operation) -> bytes:
    """Return an operation as a command."""
    return msgspec.msgpack.encode(operation)


def act(value: str, operation: Operation) -> tuple[str, Any]:
    """Return a register's next value and the operation's result."""
    if operation.name == "put":
        return operation.value, ""
    if operation.name == "append":
        return value + operation.value, len(value)
    if operation.name == "swap" and value == operation.expected:
        return operation.value, True
    return value, (False if operation.name == "swap" else value)


class Registers:
    """Named strings, empty at first."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def apply(self, command: bytes) -> Any:
        """Apply an encoded operation."""
        operation = _decoder.decode(command)
        value, result = act(self.values.get(operation.key, ""), operation)
        self.values[operation.key] = value
        return result

    def snapshot(self) -> bytes:
        """Return all registers."""
        return msgspec.msgpack.encode(self.values)

    def restore(self, data: bytes) -> None:
        """Replace all registers."""
        self.values = msgspec.msgpack.decode(data, type=dict[str, str])
