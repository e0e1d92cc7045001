"""Answers compressed on their way, where the app's owner wants it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from ood.proxy.core import codings
from ood.proxy.core.errand import BodyFilter
from ood.proxy.core.request import CHUNKED, Request
from ood.proxy.core.response import Response

LEAST_BYTES = 1024
"""A shorter body fits into the first packet anyway."""
GZIP_LEVEL = 4
"""Half the time of level 6 for a few percent: the other connections wait meanwhile."""
BROTLI_QUALITY = 4
"""About as fast as gzip's level, and smaller."""
ZSTD_LEVEL = 3
"""zstd's own default: faster than both."""

_GZIP_WINDOW = 16 + 15
_ASKED = re.compile(rb"\n(?i:accept-encoding):[ \t]*([^\r]*)")
_TOLD = re.compile(rb"\n((?i:content-(?:type|encoding)|cache-control|vary))(?=:):[ \t]*([^\r]*)")
_UNTRUE = re.compile(
    rb"\n(?i:content-(?:length|md5|digest)|digest|repr-digest|accept-ranges):[^\n]*(?=\n)"
)
_STRONG_TAG = re.compile(rb'\n((?i:etag):[ \t]*)(?=")')
_NO_TRANSFORM = re.compile(rb"(?:^|,)[ \t]*no-transform[ \t]*(?:,|$)", re.IGNORECASE)


class _Gzip:
    """gzip, of which a part can be read before the rest comes."""

    def __init__(self) -> None:
        self._coder = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        self.process = self._coder.compress

    def flush(self) -> bytes:
        """Return everything that was taken."""
        return self._coder.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        """Return the end."""
        return self._coder.flush(zlib.Z_FINISH)


class _Zstd:
    """zstd, of which a part can be read before the rest comes."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._coder = module.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
        self.process = self._coder.compress

    def flush(self) -> bytes:
        """Return everything that was taken."""
        data: bytes = self._coder.flush(self._module.COMPRESSOBJ_FLUSH_BLOCK)
        return data

    def finish(self) -> bytes:
        """Return the end."""
        data: bytes = self._coder.flush(self._module.COMPRESSOBJ_FLUSH_FINISH)
        return data


@cache
def coders() -> dict[str, Callable[[], Any]]:
    """Return what makes a coder, by the name of its coding, the best one first.

    Brotli and zstd are there if the packages ``brotli`` and ``zstandard`` are installed.
    """
    found: dict[str, Callable[[], Any]] = {}
    try:
        import brotli  # type: ignore[import-not-found,import-untyped,unused-ignore] # noqa: PLC0415
    except ImportError:
        pass
    else:
        found["br"] = lambda: brotli.Compressor(quality=BROTLI_QUALITY)
    try:
        import zstandard  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415
    except ImportError:
        pass
    else:
        found["zstd"] = lambda: _Zstd(zstandard)
    found["gzip"] = _Gzip
    return found


class CompressedBody:
    """A body that is compressed while it passes.

    :param coder: of :func:`coders`.
    :param at_once: every part can be read when it comes: its sender may wait long for the next.
    """

    def __init__(self, coder: Any, *, at_once: bool) -> None:
        self._coder = coder
        self._at_once = at_once

    def feed(self, data: bytes) -> bytes:
        """Take a part; return what can be sent by now."""
        out: bytes = self._coder.process(data)
        return out + self._coder.flush() if self._at_once else out

    def end(self) -> bytes:
        """Return the end."""
        out: bytes = self._coder.finish()
        return out


class Compression:
    """Compresses the answer to one request, if both sides gain by it."""

    def __init__(self, request: Request) -> None:
        values = _ASKED.findall(b"\n" + request.fields)
        self._asked = b",".join(values) if values else None
        self._head = request.method == b"HEAD"

    def change(self, response: Response) -> tuple[Response, BodyFilter | None]:
        """Return the response with its coding named, and what applies it."""
        told: dict[bytes, bytes] = {}
        for name, value in _TOLD.findall(b"\n" + response.fields):
            key = name.lower()
            told[key] = told[key] + b"," + value if key in told else value
        if not _may_be_coded(told):
            return response, None
        fields = response.fields + _vary(told.get(b"vary", b""))
        coding = self._coding(response)
        if not coding:
            return msgspec.structs.replace(response, fields=fields), None
        fields = _STRONG_TAG.sub(rb"\n\1W/", _UNTRUE.sub(b"", b"\n" + fields))[1:]
        fields += b"Content-Encoding: %b\r\n" % coding.encode("ascii")
        changed = msgspec.structs.replace(response, fields=fields, length=CHUNKED)
        at_once = response.event_stream or response.length < 0
        return changed, CompressedBody(coders()[coding](), at_once=at_once)

    def _coding(self, response: Response) -> str:
        """Return the coding for this body, or nothing."""
        status, length = response.status, response.length
        if self._head or status in {204, 206, 304} or 0 <= length < LEAST_BYTES:
            return ""
        return next(iter(codings.ranked(self._asked, tuple(coders()))), "")


def _may_be_coded(told: dict[bytes, bytes]) -> bool:
    """Tell whether a response is of a kind that gets smaller, and nobody forbids it."""
    return (
        codings.compressible(told.get(b"content-type", b"").decode("latin-1"))
        and told.get(b"content-encoding", b"identity").strip().lower() == b"identity"
        and not _NO_TRANSFORM.search(told.get(b"cache-control", b""))
    )


def _vary(value: bytes) -> bytes:
    """Return the field by which caches keep both forms apart, unless it is there."""
    names = {name.strip().lower() for name in value.split(b",")}
    return b"" if names & {b"*", b"accept-encoding"} else b"Vary: Accept-Encoding\r\n"
