"""What the answer to a request for a file is, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ood.model.apptypes import STATIC
from ood.model.document import App, Document
from ood.proxy.core import codings
from ood.proxy.core.pages import Page
from ood.proxy.core.request import Request
from ood.proxy.core.response import Response
from ood.proxy.core.static import conditional, media
from ood.proxy.core.static.conditional import Piece, Version
from ood.proxy.core.static.paths import Place, place_of
from ood.proxy.dates import dated
from ood.proxy.static.files import File, Root, UnreadableError

SUFFIXES: Mapping[str, bytes] = {"br": b".br", "zstd": b".zst", "gzip": b".gz"}
"""What a compressed sibling's name ends in, by its coding, the best one first."""

_REASONS = {
    200: b"OK",
    206: b"Partial Content",
    304: b"Not Modified",
    412: b"Precondition Failed",
    416: b"Range Not Satisfiable",
}
_MISSING = Page(404, "There is no such page here.")
_UNREADABLE = Page(
    403, "This file may not be read.", "Make it readable for everybody: chmod o+r FILE"
)
_NO_ROOT = Page(503, "The site's files can't be reached now.", "Is the app's cwd still there?")
_METHOD = Page(405, "There are files here: they are only read.", fields=b"Allow: GET, HEAD\r\n")


class StaticSite(msgspec.Struct, frozen=True):
    """An app that is just files; its keys of the same names.

    :ivar root: the directory that they are in.
    :ivar running: whether the app is started.
    """

    root: str
    index: bytes = b"index.html"
    fallback: bytes | None = None
    precompressed: bool = True
    cache_control: bytes | None = None
    running: bool = True


class Answer(msgspec.Struct, frozen=True):
    """A file, or a piece of it, to be sent.

    :ivar file: None if there is nothing to be sent of it.
    """

    response: Response
    file: File | None
    start: int
    length: int


def statics(document: Document) -> dict[str, StaticSite]:
    """Return the apps of ``document`` that are just files."""
    return {name: _site(app) for name, app in document.apps.items() if app.type == STATIC}


def _site(app: App) -> StaticSite:
    return StaticSite(
        app.cwd,
        app.index.encode(),
        app.fallback.encode() if app.fallback else None,
        app.precompressed,
        app.cache_control.encode("ascii") if app.cache_control else None,
        app.running,
    )


def answer_to(
    request: Request, site: StaticSite, now: float, *, below: bytes = b""
) -> Answer | Page:
    """Find the file that is asked for; whoever gets an answer closes it.

    :param now: seconds since the epoch.
    :param below: the path that clients know the site's root by, if that is not ``/``.
    """
    if request.method not in {b"GET", b"HEAD"}:
        return _METHOD
    place = place_of(request.target)
    if place is None:
        return _MISSING
    try:
        root = Root(site.root)
    except OSError:
        return _NO_ROOT
    with root:
        return _Search(request, site, root, now, below).look(place)


class _Search(msgspec.Struct, frozen=True):
    """One request, below one root."""

    request: Request
    site: StaticSite
    root: Root
    now: float
    below: bytes

    def look(self, place: Place) -> Answer | Page:
        """Return the answer for what is at ``place``, or instead of it."""
        path = place.path
        try:
            file = self.root.open(path)
            if file is None and not place.directory:
                location = b"Location: %b\r\n" % place.as_directory(self.below)
                return Page(301, "Its address has a slash at its end.", fields=location)
            if file is None:
                path = b"/".join((*place.names, self.site.index))
                file = self.root.open(path)
            elif place.directory:
                file.close()
                file = None
        except FileNotFoundError:
            file = None
        except UnreadableError:
            return _UNREADABLE
        except OSError:
            return _NO_ROOT
        return self._instead(place) if file is None else self._answer(path, file)

    def _instead(self, place: Place) -> Answer | Page:
        """Answer for what is not there: an application in the browser may know it."""
        fallback = self.site.fallback
        if fallback is None or place.extension:
            return _MISSING
        try:
            file = self.root.open(fallback)
        except OSError:
            file = None
        return _MISSING if file is None else self._answer(fallback, file)

    def _answer(self, path: bytes, file: File) -> Answer:
        request, now = self.request, int(self.now)
        asked = conditional.asked(request.fields)
        kind = media.media_type(path)
        varies = self.site.precompressed and codings.compressible(kind)
        coding = ""
        if varies:
            wanted = codings.ranked(asked.get(b"accept-encoding"), tuple(SUFFIXES))
            coding = self.root.variants(path, file, [(name, SUFFIXES[name]) for name in wanted])
        etag = conditional.entity_tag(file.modified_ns, file.size, coding)
        # A time to come would hide changes that are made until then.
        modified = min(file.modified_ns // 1_000_000_000, now)
        version = Version(etag, modified, file.size)
        piece = conditional.decide(version, asked, get=request.method == b"GET")
        fields = [b"Date: %b\r\n" % dated(int(now)), *_content_fields(piece, version, kind, coding)]
        if piece.status < 400:
            fields.append(b"ETag: %b\r\nLast-Modified: %b\r\n" % (etag, dated(modified)))
            if self.site.cache_control is not None:
                fields.append(b"Cache-Control: %b\r\n" % self.site.cache_control)
        if varies:
            fields.append(b"Vary: Accept-Encoding\r\n")
        return _made(request, file, piece, b"".join(fields))


def _content_fields(piece: Piece, version: Version, kind: str, coding: str) -> list[bytes]:
    """Return the fields that tell what is in the body."""
    if piece.status not in (200, 206):
        unsatisfied = b"Content-Range: bytes */%d\r\n" % version.size
        rest = unsatisfied if piece.status == 416 else b""
        return [rest if piece.status == 304 else rest + b"Content-Length: 0\r\n"]
    fields = [
        b"Content-Type: %b\r\nContent-Length: %d\r\n" % (kind.encode("ascii"), piece.length),
        b"Accept-Ranges: bytes\r\n",
    ]
    if coding:
        fields.append(b"Content-Encoding: %b\r\n" % coding.encode("ascii"))
    if piece.status == 206:
        last = piece.start + piece.length - 1
        fields.append(b"Content-Range: bytes %d-%d/%d\r\n" % (piece.start, last, version.size))
    return fields


def _made(request: Request, file: File, piece: Piece, fields: bytes) -> Answer:
    length = 0 if request.method == b"HEAD" else piece.length
    response = Response(
        status=piece.status,
        reason=_REASONS[piece.status],
        fields=fields,
        length=length,
        keep_alive=True,
        idle_timeout=None,
        event_stream=False,
        upgrade=b"",
        named=(),
        end=0,
    )
    if not length:
        file.close()
        return Answer(response, None, 0, 0)
    return Answer(response, file, piece.start, length)
