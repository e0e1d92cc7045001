"""What the API offers, as data: the routes and the OpenAPI document are made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ood.api.types import (
    EVENT_STREAM_TYPE,
    EVENTS_LAST_MAX,
    EVENTS_SECONDS_MAX,
    KEY_QUERY,
    LOG_LINES_DEFAULT,
    LOG_LINES_MAX,
    LOG_STREAMS,
    PREFIX,
)
from ood.events import KINDS


@dataclass(frozen=True)
class Query:
    """A parameter of the query string.

    :ivar name: its name.
    :ivar doc: what it means.
    :ivar schema: JSON schema of its value.
    """

    name: str
    doc: str
    schema: dict[str, object]


@dataclass(frozen=True)
class Operation:
    """One thing a client can ask for.

    :ivar name: the operation's id, and the handler's method name.
    :ivar method: the HTTP method.
    :ivar path: the path; ``{app}`` stands for an app's name.
    :ivar summary: what it does.
    :ivar answer: name of the answer's schema; empty if there is no body.
    :ivar status: status of the answer.
    :ivar lines: whether the answer is objects, one a line, as they come.
    :ivar media: the answer's media type, where it is neither JSON nor JSON lines.
    :ivar body: name of the request body's schema; empty if it takes none.
    :ivar query: parameters of the query string.
    :ivar errors: statuses of refusals beyond those that every route has.
    :ivar public: whether it needs no token.
    """

    name: str
    method: str
    path: str
    summary: str
    answer: str = ""
    status: int = 200
    body: str = ""
    lines: bool = False
    media: str = ""
    query: tuple[Query, ...] = ()
    errors: tuple[int, ...] = ()
    public: bool = False


_KIND = "|".join((*KINDS, "status"))

LOG_QUERY = (
    Query(
        "lines",
        f"How many of the last lines; {LOG_LINES_DEFAULT} if absent.",
        {"type": "integer", "minimum": 0, "maximum": LOG_LINES_MAX},
    ),
    Query("stream", "Only lines of this stream.", {"type": "string", "enum": list(LOG_STREAMS)}),
    Query(
        "follow",
        "Keep the answer open and send new lines as they come, one JSON object a line.",
        {"type": "string", "enum": ["true", "false"]},
    ),
)

PURGE_QUERY = (
    Query(
        "purge",
        "Remove the app's releases, too.",
        {"type": "string", "enum": ["true", "false"]},
    ),
)

EVENTS_QUERY = (
    Query(
        "kinds",
        f"Only these kinds, with commas between them: {', '.join(KINDS)}, status.",
        {"type": "string", "pattern": f"^({_KIND})(,({_KIND}))*$"},
    ),
    Query("app", "Only what is about this app.", {"type": "string"}),
    Query(
        "last",
        "Begin with so many of the last events; 0 if absent.",
        {"type": "integer", "minimum": 0, "maximum": EVENTS_LAST_MAX},
    ),
    Query(
        "seconds",
        "End the answer after so many seconds; it has no end if absent.",
        {"type": "integer", "minimum": 0, "maximum": EVENTS_SECONDS_MAX},
    ),
    Query(KEY_QUERY, "The key of the web page's session.", {"type": "string"}),
)


def names_of(queries: Iterable[Query]) -> tuple[str, ...]:
    """Return the parameters' names."""
    return tuple(query.name for query in queries)


_APPS = f"{PREFIX}/apps"
_APP = f"{PREFIX}/apps/{{app}}"
_CERTIFICATES = f"{PREFIX}/certificates"
_CERTIFICATE = f"{PREFIX}/certificates/{{certificate}}"
_CHANGES = (400, 404, 409, 413, 415)
_WORK = (404, 409, 502, 503)

OPERATIONS = (
    Operation("list_apps", "GET", _APPS, "Live state of all apps.", "AppList"),
    Operation(
        "init_app",
        "POST",
        _APPS,
        "Add an app; a port is assigned if none is given.",
        "App",
        status=201,
        body="NewApp",
        errors=(400, 409, 413, 415),
    ),
    Operation("get_app", "GET", _APP, "Live state of an app.", "AppStatus", errors=(404,)),
    Operation(
        "change_app",
        "PATCH",
        _APP,
        "Change keys of an app's configuration, all of them or none; null resets one.",
        "App",
        body="AppChanges",
        errors=_CHANGES,
    ),
    Operation(
        "delete_app",
        "DELETE",
        _APP,
        "Stop an app and forget it; its files stay, its releases unless they are purged.",
        status=204,
        query=PURGE_QUERY,
        errors=(400, *_WORK),
    ),
    Operation(
        "get_app_config",
        "GET",
        f"{_APP}/config",
        "An app's configuration, with defaults filled in.",
        "App",
        errors=(404,),
    ),
    Operation(
        "start_app",
        "POST",
        f"{_APP}/start",
        "Start an app; answers when all its workers do.",
        "AppStatus",
        errors=_WORK,
    ),
    Operation(
        "stop_app",
        "POST",
        f"{_APP}/stop",
        "Stop an app; answers when its processes are gone.",
        "AppStatus",
        errors=_WORK,
    ),
    Operation(
        "restart_app",
        "POST",
        f"{_APP}/restart",
        "Replace an app's workers without an interruption.",
        "AppStatus",
        errors=_WORK,
    ),
    Operation(
        "scale_app",
        "POST",
        f"{_APP}/scale",
        "Set how many workers an app has.",
        "AppStatus",
        body="Scale",
        errors=(400, 413, 415, *_WORK),
    ),
    Operation(
        "maintain_app",
        "POST",
        f"{_APP}/maintenance",
        "Begin or end an app's maintenance: ood answers instead of it, with 503.",
        "AppStatus",
        body="Maintain",
        errors=_CHANGES,
    ),
    Operation(
        "list_releases",
        "GET",
        f"{_APP}/releases",
        "An app's releases, newest first.",
        "ReleaseList",
        errors=(404,),
    ),
    Operation(
        "deploy_app",
        "POST",
        f"{_APP}/deploy",
        "Make a release and run it in place of the old one, without an interruption; one JSON "
        "object a line, the last one with the result. It ends with the connection.",
        "DeployEvent",
        body="Order",
        lines=True,
        errors=(400, 413, 415, *_WORK),
    ),
    Operation(
        "rollback_app",
        "POST",
        f"{_APP}/rollback",
        "Run an earlier release without an interruption.",
        "AppStatus",
        body="Rollback",
        errors=(400, 413, 415, *_WORK),
    ),
    Operation(
        "list_deaths",
        "GET",
        f"{_APP}/deaths",
        "The last deaths of an app's workers, newest first, with what is known of each.",
        "DeathList",
        errors=(404,),
    ),
    Operation(
        "read_log",
        "GET",
        f"{_APP}/log",
        "An app's last log lines, and those to come if followed.",
        "Log",
        query=LOG_QUERY,
        errors=(400, 404, 503),
    ),
    Operation(
        "watch_events",
        "GET",
        f"{PREFIX}/events",
        "What happens, as server-sent events, and the state of all apps: once as a whole, then "
        "each second what is different. Last-Event-ID resumes; after the event reset, read "
        "everything again.",
        "EventStream",
        media=EVENT_STREAM_TYPE,
        query=EVENTS_QUERY,
        errors=(400, 404, 503),
    ),
    Operation(
        "get_settings",
        "GET",
        f"{PREFIX}/settings",
        "The service's settings, with defaults filled in.",
        "Settings",
    ),
    Operation(
        "change_settings",
        "PATCH",
        f"{PREFIX}/settings",
        "Change settings, all of them or none; null resets one.",
        "Settings",
        body="SettingsChanges",
        errors=(400, 409, 413, 415),
    ),
    Operation(
        "test_notifications",
        "POST",
        f"{PREFIX}/notify/test",
        "Tell every target of the setting notify that this is a test.",
        "NotifiedList",
        errors=(503,),
    ),
    Operation(
        "make_login_code",
        "POST",
        f"{PREFIX}/login-code",
        "Make a code with which one browser can log in to the web page, once and soon.",
        "LoginCode",
        status=201,
    ),
    Operation(
        "list_certificates",
        "GET",
        _CERTIFICATES,
        "Every certificate, and every lack of one; never a key.",
        "CertificateList",
    ),
    Operation(
        "add_certificate",
        "POST",
        _CERTIFICATES,
        "Serve a certificate from files on this machine, and read them again when they change.",
        "CertificateStatus",
        status=201,
        body="NewCertificate",
        errors=(400, 409, 413, 415),
    ),
    Operation(
        "get_certificate",
        "GET",
        _CERTIFICATE,
        "A certificate by its name, or by a name it is valid for.",
        "CertificateStatus",
        errors=(404,),
    ),
    Operation(
        "renew_certificate",
        "POST",
        f"{_CERTIFICATE}/renew",
        "Get a certificate anew; answers when it is served.",
        "CertificateStatus",
        errors=_WORK,
    ),
    Operation(
        "revoke_certificate",
        "POST",
        f"{_CERTIFICATE}/revoke",
        "Get a certificate with a new key, then have the CA revoke the old one.",
        "CertificateStatus",
        errors=_WORK,
    ),
    Operation(
        "remove_certificate",
        "DELETE",
        _CERTIFICATE,
        "Forget a certificate; the files of an own one stay.",
        status=204,
        errors=(404, 409),
    ),
    Operation("get_version", "GET", f"{PREFIX}/version", "What runs here.", "Version"),
    Operation(
        "get_health", "GET", f"{PREFIX}/health", "Answers while ood runs.", "Health", public=True
    ),
    Operation("get_openapi", "GET", "/openapi.json", "This document.", "OpenApi", public=True),
)
