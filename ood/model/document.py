"""The document: all that ood is told, in typed values.

The document is what the store keeps and what every part converges to.  Only
what differs from a default is written down, so that a better default reaches
everyone who did not choose otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ood.model.apitls import ApiTls
from ood.model.files import COMPRESS_KEYS, FILE_KEYS
from ood.model.notify import Target
from ood.model.rulekinds import RULE_KEYS
from ood.model.rules import EVERY_REQUEST, Maintenance, Redirect, Route
from ood.model.services import Service
from ood.model.tls import HTTPS_FIELDS
from ood.model.upstreams import Upstream

SCHEMA_VERSION = 1
"""The version of the document's form; a newer one than this is refused."""
FIRST_APP_PORT = 3001
"""Apps get the first free loopback port from here on; 3000 stays for experiments."""

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
"""The CA that certificates come from unless another one is named."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Settings of the service as a whole; ``None`` is "as fits the user ood runs as".

    :ivar http_port: port for HTTP; 80 for root, 8080 otherwise; 0 is off.
    :ivar https_port: port for HTTPS; 443 for root, 8443 otherwise; 0 is off.
    :ivar api_port: loopback port of the JSON API.
    :ivar balancer_engine: what spreads the connections of the L4 services.
    :ivar api_tls: where the API listens for other machines; None: nowhere.
    :ivar metrics_access: what ``/metrics`` asks for: ``token``, or ``loopback``, nothing there.
    :ivar notify: who is told of events; has secrets in it.
    :ivar error_pages: files for what no app has a page of its own for.
    :ivar trusted_proxies: networks of proxies whose word about clients is taken.
    :ivar proxy_protocol: networks from which connections begin with the PROXY protocol.
    :ivar acme_agree_tos: whether somebody has accepted the CA's terms; None: nobody was asked.
    """

    http_port: int | None = None
    https_port: int | None = None
    api_port: int = 2016
    balancer_engine: str = "auto"
    api_tls: ApiTls | None = None
    metrics_access: str = "token"
    notify: tuple[Target, ...] = ()
    error_pages: Mapping[str, str] = {}
    trusted_proxies: tuple[str, ...] = ()
    proxy_protocol: tuple[str, ...] = ()
    access_log: str = "off"
    acme_agree_tos: bool | None = None
    acme_email: str | None = None
    acme_directory: str = LETS_ENCRYPT
    acme_challenges: tuple[str, ...] = ("http-01", "tls-alpn-01", "dns-01")
    acme_dns_hook: tuple[str, ...] = ()
    acme_profile: str | None = None
    acme_preferred_chain: str | None = None
    acme_eab_kid: str | None = None
    acme_eab_key_file: str | None = None
    acme_ca_file: str | None = None

    def ports(self, *, root: bool) -> tuple[int, int]:
        """Return the HTTP and the HTTPS port in force."""
        http, https = (80, 443) if root else (8080, 8443)
        return (
            http if self.http_port is None else self.http_port,
            https if self.https_port is None else self.https_port,
        )


class App(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One site or program that ood runs.

    Durations are milliseconds.  ``docs/settings.md`` describes each key.

    :ivar port: the app's own loopback port, assigned by ``ood init``.
    :ivar type: what it is; see :mod:`ood.model.apptypes`.
    :ivar running: what the user wants: started or stopped.
    :ivar access_log: the format of its access log; None is as the settings say.
    :ivar release: the release that is run; None runs what is in ``cwd``.
    :ivar maintenance: set while the app is not to be asked.
    """

    port: int
    type: str = "node"
    cwd: str = ""
    script: str | None = None
    args: tuple[str, ...] = ()
    node_args: tuple[str, ...] = ()
    interpreter: str = "node"
    env: Mapping[str, str] = {}
    instances: int | str = 1
    domains: tuple[str, ...] = ()
    default: bool = False
    user: str | None = None
    group: str | None = None
    handoff: str = "auto"
    wait_ready: bool = False
    listen_timeout: int = 30_000
    kill_timeout: int = 30_000
    stop_signal: str = "SIGTERM"
    health_path: str | None = None
    health_timeout: int = 10_000
    autorestart: bool = True
    min_uptime: int = 1_000
    max_restarts: int = 16
    exp_backoff_restart_delay: int = 100
    restart_delay: int = 0
    max_memory_restart: int | None = None
    cron_restart: str | None = None
    watch: bool | tuple[str, ...] = False
    ignore_watch: tuple[str, ...] = ()
    spare: int = 0
    access_log: str | None = None
    depends_on: tuple[str, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    balance: str = "leastConn"
    health_interval: int = 1_000
    max_fails: int = 3
    fail_timeout: int = 10_000
    sticky: str = "off"
    https: str = "auto"
    hsts: int = 0
    tls: str = "terminate"
    index: str = "index.html"
    fallback: str | None = None
    precompressed: bool = True
    cache_control: str | None = None
    compress: bool = False
    routes: Mapping[str, Route] = {}
    redirects: Mapping[str, Redirect] = {}
    rewrites: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    request_headers: Mapping[str, str] = {}
    basic_auth: Mapping[str, str] = {}
    basic_auth_paths: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    rate_limit: str | None = None
    rate_limit_burst: int | None = None
    body_limit: int | None = None
    error_pages: Mapping[str, str] = {}
    maintenance_allow: tuple[str, ...] = ()
    request_id: bool = False
    maintenance: Maintenance | None = None
    running: bool = False
    release: str | None = None

    def worker_count(self) -> int:
        """Return how many workers are wanted; ``max`` is one for each usable processor."""
        if isinstance(self.instances, int):
            return self.instances
        return len(os.sched_getaffinity(0))

    def proxied_because(self) -> tuple[str, ...]:
        """Return the keys that have ood look at every request."""
        fields = {field.encode_name: field.name for field in msgspec.structs.fields(App)}
        keys = tuple(key for key in EVERY_REQUEST if getattr(self, fields[key]))
        return (*keys, "sticky") if self.sticky == "cookie" else keys

    def stickiness(self) -> str:
        """Return by what clients stay with their workers or servers: off, ip or cookie."""
        if self.type == "proxy" and self.sticky == "off":
            return {"ipHash": "ip", "cookie": "cookie"}.get(self.balance, "off")
        return self.sticky

    def hosts(self, name: str) -> tuple[str, ...]:
        """Return the Host names that this app, called ``name``, answers to."""
        own = (name,) if "." in name else ()
        away = (source for source in self.redirects if not source.startswith("/"))
        return tuple(dict.fromkeys((*own, *self.domains, *away, f"{name}.localhost")))


RULE_FIELDS = tuple(
    field.name
    for field in msgspec.structs.fields(App)
    if field.encode_name in (*RULE_KEYS, *HTTPS_FIELDS, *FILE_KEYS, *COMPRESS_KEYS, "maintenance")
)
"""Fields of an app that only ood itself acts on, not the app's workers."""


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole state that is configured, as the store keeps it."""

    schema: int = SCHEMA_VERSION
    settings: Settings = Settings()
    apps: Mapping[str, App] = {}
    services: tuple[Service, ...] = ()

    def with_app(self, name: str, app: App) -> Document:
        """Return the document with ``name`` set to ``app``."""
        return msgspec.structs.replace(self, apps={**self.apps, name: app})

    def without_app(self, name: str) -> Document:
        """Return the document without the app ``name``."""
        apps = {other: app for other, app in self.apps.items() if other != name}
        return msgspec.structs.replace(self, apps=apps)

    def free_port(self, is_free: Callable[[int], bool] = lambda _: True) -> int:
        """Return the first port from :data:`FIRST_APP_PORT` that no app has.

        :param is_free: whether nobody else listens on it.
        """
        taken = {app.port for app in self.apps.values()}
        candidates = (port for port in range(FIRST_APP_PORT, 65536) if port not in taken)
        return next(port for port in candidates if is_free(port))


def to_plain(value: msgspec.Struct) -> dict[str, Any]:
    """Return ``value`` as plain JSON values, without what equals its default."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain
