"""The state machine as the log sees it: the user's commands and the members' addresses.

Addresses are replicated with the log, so every member can connect to every
other one, also after those who introduced them are gone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ood.raft.core.machine import StateMachine

_COMMAND = b"\0"
_ADDRESSES = b"\1"


class _Image(msgspec.Struct, frozen=True, array_like=True):
    addresses: dict[str, Any]
    state: bytes


class AddressedMachine:
    """Keeps addresses beside the user's machine.

    :ivar addresses: by id, the options by which a member is connected to.
    """

    def __init__(self, machine: StateMachine) -> None:
        self.machine = machine
        self.addresses: dict[str, Any] = {}

    def apply(self, command: bytes) -> Any:
        """Carry out a command of the user, or learn addresses."""
        if command[:1] == _COMMAND:
            return self.machine.apply(command[1:])
        self.addresses.update(msgspec.msgpack.decode(command[1:]))
        return None

    def snapshot(self) -> bytes:
        """Return addresses and the user's state."""
        return msgspec.msgpack.encode(_Image(self.addresses, self.machine.snapshot()))

    def restore(self, data: bytes) -> None:
        """Replace both."""
        image = msgspec.msgpack.decode(data, type=_Image)
        self.addresses = image.addresses
        self.machine.restore(image.state)


def user_command(data: bytes) -> bytes:
    """Return a user's command as the log holds it."""
    return _COMMAND + data


def address_command(addresses: dict[str, Any]) -> bytes:
    """Return the command by which every member learns addresses."""
    return _ADDRESSES + msgspec.msgpack.encode(addresses)


class NothingMachine:
    """Keeps nothing: for a node that only elects a leader, or just counts."""

    def apply(self, command: bytes) -> bytes:
        """Return the command."""
        return command

    def snapshot(self) -> bytes:
        """Return nothing."""
        return b""

    def restore(self, data: bytes) -> None:
        """Do nothing."""
