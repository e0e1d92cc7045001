"""What only shows when a site's rules are seen beside one another and beside other apps."""

from __future__ import annotations

from collections.abc import Mapping

from ood.errors import Fault
from ood.model.document import App


def rule_faults(apps: Mapping[str, App]) -> list[Fault]:
    """Return every fault of the apps' rules, each with its whole key."""
    faults: list[Fault] = []
    for name, app in apps.items():
        faults += _route_faults(name, app, apps)
        faults += _single_faults(name, app)
    return faults


def _route_faults(name: str, app: App, apps: Mapping[str, App]) -> list[Fault]:
    known = ", ".join(sorted(other for other in apps if other != name)) or "none"
    faults = []
    for path, route in app.routes.items():
        key = f"apps.{name}.routes.{path}"
        if route.app not in apps:
            faults.append(Fault(key, f"there is no app {route.app}", f"apps: {known}"))
        elif route.app == name:
            faults.append(Fault(key, f"leads to {name} itself", f"other apps: {known}"))
    return faults


def _single_faults(name: str, app: App) -> list[Fault]:
    faults = []
    forcing = [key for key in app.proxied_because() if key != "maintenance"]
    if forcing and app.handoff in ("guard", "cluster"):
        problem = f"is {app.handoff}, but {', '.join(forcing)}: ood must look at every request"
        faults.append(Fault(f"apps.{name}.handoff", problem, "auto or never"))
    if forcing and app.tls == "passthrough":
        problem = f"is passthrough, but {', '.join(forcing)}: ood must see what is asked"
        faults.append(Fault(f"apps.{name}.tls", problem, "terminate"))
    if app.basic_auth_paths and not app.basic_auth:
        problem = "protects nothing: basicAuth has no users"
        right = f"with a user (ood password {name} USER), or unset"
        faults.append(Fault(f"apps.{name}.basicAuthPaths", problem, right))
    if app.rate_limit_burst is not None and app.rate_limit is None:
        problem = "means nothing without rateLimit"
        faults.append(Fault(f"apps.{name}.rateLimitBurst", problem, "rateLimit with it"))
    return faults
