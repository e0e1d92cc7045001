"""``docs/settings.md``, made of the model's tables.

Run ``python -m ood.cli.settings_doc > docs/settings.md`` after a change to them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ood.model import kinds
from ood.model.document import App, Settings
from ood.model.schema import APP_KEYS, SETTINGS_KEYS, Key
from ood.model.units import format_duration_ms

HEAD = """\
# Settings

Everything that can be set, with what is allowed and what holds if nothing is set.
This page is made of the tables in `ood/model/schema.py` by
`python -m ood.cli.settings_doc`.

A key that is unknown or a value that is not allowed is refused with the reason, and
then nothing is changed. `--unset KEY` puts a key back to its default.
"""

SETTINGS_HEAD = """
## The service

```
ood config --get                    show all
ood config --get httpPort           show one
ood config --set httpsPort 443      change one
```
"""

APP_HEAD = """
## An app

```
ood config -a example.com --get                     show all
ood config -a example.com -g port                   show one
ood config -a testapp -s cwd /home/test/testapp     change one
ood config -a testapp -s instances 4 -s user www    change several, all or none
ood config -a testapp -s env.NODE_ENV production    change one environment variable
ood config -a testapp --unset env.NODE_ENV          remove it
```

Durations are written as `1500` or `1500ms`, `10s`, `5m`, `1h`. Lists are separated by
commas, or written as JSON; `args` and `nodeArgs` are split as a shell would.
"""

BY_CIRCUMSTANCE = {
    "httpPort": "80 for root, else 8080",
    "httpsPort": "443 for root, else 8443",
    "cwd": "given or found by `ood init`",
}
"""Defaults that depend on who runs ood, and where."""


def _default(field: msgspec.structs.FieldInfo, entry: Key) -> str:
    """Return what holds where the key is not set."""
    if field.encode_name in BY_CIRCUMSTANCE:
        return BY_CIRCUMSTANCE[field.encode_name]
    if field.required:
        return "given or assigned by `ood init`"
    value: Any = field.default
    if value is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is None or value in ((), {}):
        return ""
    if entry.kind is kinds.DURATION:
        return f"`{format_duration_ms(value)}`"
    return f"`{msgspec.json.encode(value).decode()}`".replace('"', "")


def _table(keys: Mapping[str, Key], kind: type[msgspec.Struct]) -> Iterable[str]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    yield ""
    yield "| Key | Meaning | Allowed | Default |"
    yield "|---|---|---|---|"
    for name, entry in keys.items():
        if not entry.internal:
            default = _default(fields[name], entry)
            yield f"| `{name}` | {entry.doc} | {entry.kind.allowed} | {default} |"


def page() -> str:
    """Return the page."""
    return "\n".join(
        [
            HEAD.rstrip("\n"),
            SETTINGS_HEAD.rstrip("\n"),
            *_table(SETTINGS_KEYS, Settings),
            APP_HEAD.rstrip("\n"),
            *_table(APP_KEYS, App),
            "",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(page())
