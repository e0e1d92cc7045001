"""Parameters of the query string, each fault noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from ood.api.problems import WebRequest
from ood.errors import Fault


def read_query(request: WebRequest, names: Iterable[str], faults: list[Fault]) -> dict[str, str]:
    """Return the parameters of the query string; note unknown and doubled ones.

    :param names: those that there are.
    """
    _, _, text = request.uri.partition(b"?")
    pairs = parse_qsl(text.decode("ascii", "replace"), keep_blank_values=True)
    known = tuple(names)
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            faults.append(Fault(name, "is given twice"))
        elif name not in known:
            faults.append(Fault(name, "there is no such parameter", ", ".join(known)))
        values[name] = value
    return values


def flag(values: Mapping[str, str], name: str, faults: list[Fault]) -> bool:
    """Return whether a parameter is true; note anything but true and false."""
    text = values.get(name, "false")
    if text not in {"true", "false"}:
        faults.append(Fault(name, "is not right", "true, false"))
    return text == "true"


def whole_number(
    values: Mapping[str, str], name: str, default: int, most: int, faults: list[Fault]
) -> int:
    """Return a parameter as a number; note one that is none, or is more than ``most``."""
    text = values.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not 0 <= number <= most:
        faults.append(Fault(name, "is not right", f"a whole number from 0 to {most}"))
    return number
