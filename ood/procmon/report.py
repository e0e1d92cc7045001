"""The live state of an app, as ``ood status`` shows it."""

from __future__ import annotations

from collections.abc import Sequence

from ood.errors import WorkerError
from ood.model.document import Document
from ood.model.remarks import HELD, OLDER_SETTINGS
from ood.model.status import AppStatus, WorkerStatus
from ood.procmon.app import AppContainer
from ood.procmon.members.base import SocketMember
from ood.procmon.members.joined import JoinedMember
from ood.procmon.system.accounts import find
from ood.procmon.workers.resources import Resources, Versions
from ood.procmon.workers.slot import Slot
from ood.procmon.workers.worker import WorkerProcess
from ood.traffic.meter import Lately, lately

WORST_FIRST = ("errored", "waiting-restart", "stopped", "launching", "stopping", "draining")
"""States from the one that is furthest from ``online``."""
HTTP_PORT, HTTPS_PORT = 80, 443


def urls(name: str, document: Document, root: bool) -> tuple[str, ...]:
    """Return addresses under which the app answers."""
    app = document.apps[name]
    http, https = document.settings.ports(root=root)
    scheme, number, usual = "http", http, HTTP_PORT
    if app.tls == "passthrough":  # it would not understand anything else
        scheme, number, usual = "https", https, HTTPS_PORT
    port = "" if number == usual else f":{number}"
    hosts = [host for host in app.hosts(name) if not host.startswith("*") and number]
    own = f"{scheme}://127.0.0.1:{app.port}"
    return (*(f"{scheme}://{host}{port}" for host in hosts), own)


def worker_status(
    worker: WorkerProcess,
    resources: Resources,
    *,
    stale: bool,
    restarts: int = 0,
    before: str = "",
) -> WorkerStatus:
    """Return the state of a worker that has a process.

    :param before: how the one before it died, if nobody answered here since then.
    """
    usage = resources.usage(worker.pid)
    sockets = [member for member in worker.members if isinstance(member, SocketMember)]
    joined = worker.joined()
    reason = OLDER_SETTINGS if stale and worker.state != "launching" else ""
    if worker.state == "online" and worker.held:
        reason = HELD
    elif worker.state == "online" and any(member.short for member in sockets):
        reason = "has no file descriptor left: gets no connections"
    elif worker.state == "online" and not any(member.listening for member in worker.members):
        reason = "does not listen any more"
    elif worker.state == "launching" and before:
        reason = f"the one before {before}"
    recent = _lately(worker, joined)
    return WorkerStatus(
        instance=worker.instance,
        pid=worker.pid,
        state=worker.state,
        via="guard" if joined else worker.plan.mode,
        uptime_ms=round((worker.context.clock.seconds() - worker.started) * 1000),
        restarts=restarts,
        cpu_percent=usage.cpu_percent,
        memory_bytes=usage.memory_bytes,
        requests=sum(member.stats.requests for member in joined),
        requests_per_second=round(sum(one.requests_per_second() for one in joined), 1),
        errors_per_second=recent.errors_per_second,
        latency_p50_ms=recent.p50_ms,
        latency_p95_ms=recent.p95_ms,
        latency_p99_ms=recent.p99_ms,
        loop_lag_ms=max((one.stats.lag for one in joined), default=None),
        unacknowledged=sum(member.unacknowledged for member in sockets),
        dropped=sum(member.descriptors.dropped for member in sockets),
        reason=reason,
    )


def _lately(worker: WorkerProcess, joined: Sequence[JoinedMember]) -> Lately:
    """Return what its requests were like: as the guard tells, else as the proxy sees them."""
    context = worker.context
    if joined:
        tallies = [member.told.tally for member in joined]
    else:
        tallies = [context.traffic.of(worker.plan.name).worker(worker.instance)]
    return lately(tallies, context.clock.seconds())


def _slot_status(container: AppContainer, slot: Slot, resources: Resources) -> WorkerStatus:
    worker = slot.worker
    if worker is None:
        return WorkerStatus(
            instance=slot.instance,
            pid=None,
            state=slot.state,
            restarts=slot.restarts,
            reason=slot.reason,
        )
    stale = container.stale(worker)
    before = slot.reason if slot.restarts else ""  # else it tells for whom it waited
    return worker_status(worker, resources, stale=stale, restarts=slot.restarts, before=before)


def _app_state(container: AppContainer, workers: tuple[WorkerStatus, ...]) -> str:
    if not container.app.running:
        return "stopping" if container.leaving else "stopped"
    states = {worker.state for worker in workers}
    return next((state for state in WORST_FIRST if state in states), "online")


def _user(container: AppContainer) -> str:
    try:
        return find(container.app.user, container.app.group).name
    except WorkerError:
        return container.app.user or ""


def app_status(
    container: AppContainer, addresses: tuple[str, ...], resources: Resources, versions: Versions
) -> AppStatus:
    """Return the state of an app with all its workers."""
    slots = [container.slots[number] for number in sorted(container.slots)]
    wanted = tuple(_slot_status(container, slot, resources) for slot in slots)
    held = (container.fresh, container.spare.worker)
    others = [worker for worker in held if worker is not None]
    others += sorted(container.leaving, key=lambda worker: worker.serial)
    rest = tuple(worker_status(worker, resources, stale=False) for worker in others)
    context = container.context
    recent = context.traffic.of(container.name).lately(context.clock.seconds())
    lags = [worker.loop_lag_ms for worker in wanted if worker.loop_lag_ms is not None]
    return AppStatus(
        name=container.name,
        state=_app_state(container, wanted),
        running=container.app.running,
        wanted=container.wanted,
        port=container.app.port,
        user=_user(container),
        version=versions.version(container.app.cwd),
        cwd=container.app.cwd,
        release=container.app.release or "",
        urls=addresses,
        pending_restart=any(
            slot.worker is not None and container.stale(slot.worker) for slot in slots
        ),
        requests_per_second=recent.requests_per_second,
        errors_per_second=recent.errors_per_second,
        latency_p50_ms=recent.p50_ms,
        latency_p95_ms=recent.p95_ms,
        latency_p99_ms=recent.p99_ms,
        loop_lag_ms=max(lags, default=None),
        proxied_because=container.app.proxied_because(),
        workers=(*wanted, *rest),
    )
