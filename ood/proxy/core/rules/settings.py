"""What the rules need to know of an app: :class:`ood.model.document.App` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ood.model.rules import Maintenance, Redirect, Route


class SiteSettings(Protocol):
    """The keys of an app that are rules; ``docs/settings.md`` describes each."""

    @property
    def routes(self) -> Mapping[str, Route]: ...  # noqa: D102 - named like its key, as all below
    @property
    def redirects(self) -> Mapping[str, Redirect]: ...  # noqa: D102
    @property
    def rewrites(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def request_headers(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def basic_auth(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def basic_auth_paths(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def allow(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def deny(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def rate_limit(self) -> str | None: ...  # noqa: D102
    @property
    def rate_limit_burst(self) -> int | None: ...  # noqa: D102
    @property
    def body_limit(self) -> int | None: ...  # noqa: D102
    @property
    def maintenance_allow(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def request_id(self) -> bool: ...  # noqa: D102
    @property
    def maintenance(self) -> Maintenance | None: ...  # noqa: D102

    def proxied_because(self) -> tuple[str, ...]:
        """Return the keys that have ood look at every request."""
