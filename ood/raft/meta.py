"""Term and vote, written twice.

Both copies are durable before a save returns.  A crash can tear only the copy
that is being written, so the other one is always good; and a copy that decays
later never brings an older vote back.
"""

from __future__ import annotations

from struct import Struct

import msgspec
from google_crc32c import extend

from ood.raft.core.types import HardState, Identity
from ood.raft.errors import DamagedLogError
from ood.raft.files import IFile, IFiles

NAMES = ("meta-a", "meta-b")
SLOT_BYTES = 4096  # one page; ids and the cluster's name have to fit

_HEAD = Struct("<8sII")
_MAGIC = b"oodmeta1"


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """What one copy holds; the higher version counts."""

    version: int
    identity: Identity
    hard_state: HardState


_decoder = msgspec.msgpack.Decoder(Meta)


def encode(meta: Meta) -> bytes:
    """Return one copy, as long as a slot."""
    body = msgspec.msgpack.encode(meta)
    data = _HEAD.pack(_MAGIC, len(body), extend(0, body)) + body
    if len(data) > SLOT_BYTES:
        raise ValueError(f"ids of {len(body)} bytes do not fit into {SLOT_BYTES}")
    return data.ljust(SLOT_BYTES, b"\0")


def decode(data: bytes) -> Meta | None:
    """Return what a copy holds, ``None`` where it is torn or damaged."""
    if len(data) < _HEAD.size:
        return None
    magic, length, checksum = _HEAD.unpack_from(data)
    body = data[_HEAD.size : _HEAD.size + length]
    if magic != _MAGIC or len(body) != length or extend(0, body) != checksum:
        return None
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return None


class MetaFile:
    """The two copies in a directory."""

    def __init__(self, files: IFiles) -> None:
        self._files = files
        self._open: list[IFile] = []
        self.current: Meta | None = None

    def load(self) -> Meta | None:
        """Return the newest good copy; ``None`` in a directory without any.

        :raises DamagedLogError: there are copies and none is good.
        """
        present = [name for name in NAMES if name in self._files.names()]
        copies = [decode(self._files.read(name)) for name in present]
        good = [copy for copy in copies if copy is not None]
        # The first save ever creates both; one lone torn copy is its crash.
        if len(present) == len(NAMES) and not good:
            raise DamagedLogError(", ".join(NAMES), "no copy of term and vote is readable")
        self.current = max(good, key=lambda copy: copy.version, default=None)
        return self.current

    def save(self, identity: Identity, hard_state: HardState) -> None:
        """Return when both copies are durable."""
        version = self.current.version + 1 if self.current else 1
        self.current = Meta(version, identity, hard_state)
        data = encode(self.current)
        if not self._open:
            self._open = [self._writable(name, data) for name in NAMES]
            self._files.sync_names()
            return
        for file in self._open:
            file.write_at(0, data)
            file.sync()

    def _writable(self, name: str, data: bytes) -> IFile:
        if name in self._files.names():
            file = self._files.open(name)
        else:
            file = self._files.create(name, SLOT_BYTES)
        file.write_at(0, data)
        file.sync()
        return file

    def close(self) -> None:
        """Close both files."""
        for file in self._open:
            file.close()
        self._open = []
