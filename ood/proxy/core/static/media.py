"""The media type of a file, by its name: the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN = "application/octet-stream"
"""What browsers save instead of showing it."""

_TEXTS = {
    "text/css": "css",
    "text/csv": "csv",
    "text/calendar": "ics",
    "text/html": "html htm",
    "text/javascript": "js mjs cjs",
    "text/markdown": "md markdown",
    "text/plain": "txt text log conf ini",
    "text/vcard": "vcf",
    "text/vtt": "vtt",
    "text/xml": "xml xsl",
    "text/yaml": "yaml yml",
    "application/xhtml+xml": "xhtml",
    "application/rss+xml": "rss",
    "application/atom+xml": "atom",
    "image/svg+xml": "svg",
    "application/manifest+json": "webmanifest",
    "application/json": "json map",
}
_OTHERS = {
    "application/epub+zip": "epub",
    "application/gzip": "gz tgz",
    "application/java-archive": "jar",
    "application/msword": "doc",
    "application/ogg": "ogx",
    "application/pdf": "pdf",
    "application/rtf": "rtf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-fontobject": "eot",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/wasm": "wasm",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-tar": "tar",
    "application/x-xz": "xz",
    "application/zip": "zip",
    "application/zstd": "zst",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/midi": "mid midi",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg oga opus",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "image/apng": "apng",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/jpeg": "jpg jpeg",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/tiff": "tif tiff",
    "image/vnd.microsoft.icon": "ico",
    "image/webp": "webp",
    "model/gltf-binary": "glb",
    "model/gltf+json": "gltf",
    "video/mp2t": "ts",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpeg mpg",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "application/vnd.apple.mpegurl": "m3u8",
}


def _by_extension() -> Mapping[str, str]:
    table = {}
    for kind, extensions in _OTHERS.items():
        table.update(dict.fromkeys(extensions.split(), kind))
    for kind, extensions in _TEXTS.items():
        # JSON is UTF-8 always and has no such parameter (RFC 8259).
        charset = "" if kind.endswith("json") else "; charset=utf-8"
        table.update(dict.fromkeys(extensions.split(), kind + charset))
    return table


_TYPES = _by_extension()


def media_type(name: bytes) -> str:
    """Return the type of a file called ``name``."""
    _, dot, extension = name.rpartition(b".")
    if not dot:
        return UNKNOWN
    return _TYPES.get(extension.decode("latin-1").lower(), UNKNOWN)
