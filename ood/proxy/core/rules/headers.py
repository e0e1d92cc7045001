"""Headers that a site's owner sets or removes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ood.proxy.core.errand import BodyFilter
from ood.proxy.core.response import Response


class FieldChange:
    """Sets and removes fields.

    :param fields: the new value by name; an empty one removes the field.
    :param kin: a field with ``_`` in place of ``-`` goes, too: an app may take it for the same.
    """

    def __init__(self, fields: Mapping[str, str], *, kin: bool = False) -> None:
        names = [re.escape(name.encode("ascii")) for name in fields]
        if kin:
            names = [re.sub(rb"\\-|_", rb"[-_]", name) for name in names]
        self._dropped = re.compile(rb"\n(?i:" + b"|".join(names) + rb"):[^\n]*(?=\n)")
        self._added = "".join(
            f"{name}: {value}\r\n" for name, value in fields.items() if value
        ).encode("ascii")

    def apply(self, fields: bytes) -> bytes:
        """Return ``fields`` (each with its line end), changed."""
        return self._dropped.sub(b"", b"\n" + fields)[1:] + self._added


class HeaderChange:
    """Sets and removes fields of a site's answers."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._change = FieldChange(fields)

    def change(self, response: Response) -> tuple[Response, BodyFilter | None]:
        """Return the response with its fields changed; the body is as it was."""
        return msgspec.structs.replace(response, fields=self._change.apply(response.fields)), None
