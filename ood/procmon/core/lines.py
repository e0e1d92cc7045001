"""Lines out of a stream of bytes, with a bound on the longest."""

from __future__ import annotations


class TooLongError(ValueError):
    """A line is longer than is allowed."""


class Lines:
    """Cuts a stream of bytes into lines.

    :ivar limit_bytes: the longest line.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes, without their ends.

        :raises TooLongError: a line is longer than ``limit_bytes``.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self.limit_bytes or any(len(one) > self.limit_bytes for one in lines):
            raise TooLongError(f"a line is longer than {self.limit_bytes} bytes")
        return lines

    def feed_pieces(self, data: bytes) -> list[bytes]:
        """Return the same, but cut a line that is too long into pieces."""
        *lines, rest = (self._rest + data).split(b"\n")
        limit = self.limit_bytes
        whole = [piece for line in lines for piece in self._pieces(line)]
        while len(rest) >= limit:
            whole.append(rest[:limit])
            rest = rest[limit:]
        self._rest = rest
        return whole

    def _pieces(self, line: bytes) -> list[bytes]:
        limit = self.limit_bytes
        if len(line) <= limit:
            return [line]
        return [line[start : start + limit] for start in range(0, len(line), limit)]

    @property
    def partial(self) -> bool:
        """Whether the beginning of a line waits for its rest."""
        return bool(self._rest)

    def rest(self) -> bytes:
        """Return, and forget, the line whose end never came."""
        rest, self._rest = self._rest, b""
        return rest
