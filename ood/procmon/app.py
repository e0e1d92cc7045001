"""One app: its workers, as many as are wanted, replaced when they die."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred

from ood.clock import wall_time
from ood.errors import OodError, WorkerError
from ood.model.document import App
from ood.net.fdchannel import FdChannel
from ood.procmon.context import Context, Plan
from ood.procmon.core import join, plan, restart
from ood.procmon.deaths.alert import Alert
from ood.procmon.deaths.obituaries import Obituaries
from ood.procmon.deaths.record import Death, Evidence, describe_exit, describe_seconds
from ood.procmon.members.base import SocketMember
from ood.procmon.members.cluster import SharedServers
from ood.procmon.members.door import Door, directory_name
from ood.procmon.members.extras import ExtraPorts
from ood.procmon.members.joined import JoinedMember
from ood.procmon.members.returned import returned_socket
from ood.procmon.members.roster import Roster
from ood.procmon.system import processes
from ood.procmon.system.accounts import Account, find
from ood.procmon.system.changes import Changes
from ood.procmon.telling import Teller
from ood.procmon.waiters import Waiters
from ood.procmon.workers import launch
from ood.procmon.workers.settings import needs_new_workers
from ood.procmon.workers.slot import Slot
from ood.procmon.workers.spare import Spare
from ood.procmon.workers.worker import WorkerProcess

DEPENDENCIES_SECONDS = 30.0
"""How long a start waits for other apps: longer, and one broken app would stop all."""
LOOK_AGAIN_SECONDS = 0.1
"""How often to look whether they answer."""


class AppContainer:
    """One app.

    :ivar app: its settings.
    :ivar slots: the wanted workers by number.
    :ivar leaving: workers that are being ended.
    :ivar deaths: the last deaths.
    :ivar alert: has requests written down after a death that nothing explains.
    :ivar changes: tells who waits that something has changed.
    :ivar when_gone: called when nothing of it is left.
    :ivar missing: returns the apps that this one depends on and that don't answer yet.
    :ivar teller: makes events of what happens.
    :ivar fresh: the new worker of a rolling restart, until it takes its place.
    """

    def __init__(self, context: Context, name: str, app: App, hosts: join.Hosts) -> None:
        self.context = context
        self.name = name
        self.app = app
        self.hosts = hosts
        self.roster = Roster(name)
        self.shared = SharedServers(self._privileged)
        self.slots: dict[int, Slot] = {}
        self.leaving: set[WorkerProcess] = set()
        self.deaths = Obituaries(name, context.run / "deaths" / f"{directory_name(name, 0)}.json")
        self.alert = Alert(context.clock, self._joined)
        self.changes = Changes(context.clock)
        self.failure: WorkerError | None = None
        self.waiters = Waiters(context.clock, self)
        self.teller = Teller(context.events, name)
        self.spare = Spare(self)
        self.extras = ExtraPorts(context.fds, context.clock, self.roster.on_port, self.remark)
        self.fresh: WorkerProcess | None = None
        self.fresh_failure: WorkerError | None = None
        self.missing: Callable[[], list[str]] = list
        self.when_gone: Callable[[], None] = lambda: None
        self._unfit: App | None = None
        self._serial = 0
        self._uid: int | None = None
        self._doors: dict[int, Door] = {}

    # -- what is wanted

    @property
    def wanted(self) -> int:
        """How many workers are wanted."""
        return self.app.worker_count() if self.app.running else 0

    @property
    def serial(self) -> int:
        """The number of the last worker that was started."""
        return self._serial

    @property
    def settled(self) -> bool:
        """Whether everything is as wanted."""
        if not self.app.running:
            return self.gone
        return all(number in self.slots and self.slots[number].online for number in self.indices)

    @property
    def indices(self) -> range:
        """The numbers of the wanted workers."""
        return range(self.wanted)

    @property
    def gone(self) -> bool:
        """Whether nothing of the app is there any more."""
        others = self.fresh or self.spare.worker
        return not self.slots and not self.leaving and others is None

    def stale(self, worker: WorkerProcess) -> bool:
        """Tell whether ``worker`` runs with settings of the past."""
        return needs_new_workers(worker.plan.app, self.app)

    def converge(self, app: App, hosts: join.Hosts) -> None:
        """Become what ``app`` and ``hosts`` want."""
        if app != self.app:
            self.failure = None
        self.app = app
        if hosts != self.hosts:
            self.hosts = hosts
            for member in self._joined():
                member.tell_hosts(hosts)
        if not app.running:
            self.teller.stopped()
            self.spare.drop()
        if not app.running and self.fresh is not None:
            self.drop_fresh("the app was stopped")
        for step in plan.plan(self.wanted, self.slots.keys()):
            if isinstance(step, plan.Retire):
                self._retire(self.slots.pop(step.instance))
            else:
                self.slots[step.instance] = Slot(step.instance)
                self.fill(self.slots[step.instance])
        self._close_if_gone()
        self.look()

    def adopt(self, app: App) -> None:
        """Want what the workers run already: a candidate has proven itself."""
        self.converge(app, self.hosts)

    def workers(self) -> list[WorkerProcess]:
        """Return every worker there is, in whatever state."""
        present = [slot.worker for slot in self.slots.values() if slot.worker is not None]
        others = [one for one in (self.fresh, self.spare.worker) if one is not None]
        return [*present, *others, *self.leaving]

    def _joined(self) -> list[JoinedMember]:
        return [member for worker in self.workers() for member in worker.joined()]

    # -- starting and ending workers

    def _retire(self, slot: Slot) -> None:
        slot.cancel()
        if slot.worker is not None:
            self.retire(slot.worker)

    def retire(self, worker: WorkerProcess) -> None:
        """Let ``worker`` finish what it has, and end it."""
        self.leaving.add(worker)
        worker.stop(drain=True)

    def launch(self, instance: int, app: App, *, held: bool = False) -> WorkerProcess:
        """Start a worker that runs as ``app`` says.

        :param held: it gets no requests yet, even when it answers.
        :raises OodError: it can't be started.
        """
        self._serial += 1
        unfit = self._unfit is not None and not needs_new_workers(self._unfit, app)
        what = Plan(self.name, app, launch.mode(app, unfit), self.hosts)
        account = find(app.user, app.group)
        self._uid = account.uid
        door = self._door(account)
        places = launch.Places(str(door.join_path), str(door.back_path))
        worker = WorkerProcess(
            self.context, what, self, places, instance=instance, serial=self._serial, held=held
        )
        worker.start()
        return worker

    def _door(self, account: Account) -> Door:
        if account.uid not in self._doors:
            door = Door(
                self.context.fds,
                self.context.clock,
                directory=self.context.run / directory_name(self.name, account.uid),
                account=account,
                host=self,
            )
            door.open()
            self._doors[account.uid] = door
        return self._doors[account.uid]

    def fill(self, slot: Slot) -> None:
        """Start a worker in ``slot``."""
        slot.cancel()
        if self.slots.get(slot.instance) is not slot:
            return  # no longer wanted
        if self.spare.take(slot) or self._waits(slot):
            return
        slot.state = "launching"
        try:
            slot.worker = self.launch(slot.instance, slot.settings(self.app))
        except OodError as error:
            found = Evidence(release=self.app.release or "", cwd=self.app.cwd)
            death = Death(wall_time(), slot.instance, None, str(error), 0.0, evidence=found)
            self._lost(slot, death, self.context.clock.seconds(), was_online=False)

    def retry(self) -> None:
        """Start now what died and waits for its time, or was left stopped."""
        self.failure = None
        for slot in list(self.slots.values()):
            if slot.worker is None and slot.state != "launching":
                self.fill(slot)

    def _waits(self, slot: Slot) -> bool:
        """Tell whether the first worker has to wait for apps that this one depends on."""
        missing = self.missing() if slot.proven is None and not slot.restarts else []
        now = self.context.clock.seconds()
        if slot.patience is None and missing:
            slot.patience = now + DEPENDENCIES_SECONDS
            self.remark(f"worker {slot.instance} waits for {', '.join(missing)}")
        if not missing or slot.patience is None or now >= slot.patience:
            return False
        slot.state, slot.reason = "launching", f"waits for {', '.join(missing)}"
        slot.timer = self.context.clock.callLater(LOOK_AGAIN_SECONDS, self.fill, slot)
        return True

    # -- what workers tell

    def worker_online(self, worker: WorkerProcess) -> None:
        """A worker answers."""
        slot = self.slots.get(worker.instance)
        if slot is not None and slot.worker is worker:
            slot.reason, slot.proven = "", worker.plan.app
        if self.settled:
            self.failure = None

    def worker_changed(self, worker: WorkerProcess) -> None:  # noqa: ARG002 - part of Crew
        """A worker's servers changed."""
        ports: set[int] = set()
        for member in self.roster.sockets:
            if isinstance(member, SocketMember):
                ports |= member.servers.extra_ports()
        self.extras.update(sorted(ports), privileged=self._privileged())
        self.look()

    def _privileged(self) -> bool:
        """Whether the app runs as root, so that ood may do for it what only root may."""
        return self._uid == 0

    def look(self) -> None:
        """Let everyone who waits look again."""
        if self.teller.is_errored and self.app.running and self.settled:
            self.teller.recovered()
        self.waiters.look()
        self.changes.notify()
        self.spare.look()

    def worker_failed(self, worker: WorkerProcess, death: Death) -> None:
        """A worker died, or can't be used any more."""
        self.leaving.add(worker)
        if worker is self.fresh:
            self._note(death)
            self.fresh = None
            self.fresh_failure = self._error(death, was_online=worker.was_online)
            self.remark(str(self.fresh_failure.message))
        elif worker is self.spare.worker:
            self._note(death)
        self.spare.lost(worker, death.reason)
        slot = self.slots.get(worker.instance)
        if slot is not None and slot.worker is worker:
            slot.worker = None
            self._lost(slot, death, worker.started, was_online=worker.was_online)
        self.look()

    def _lost(self, slot: Slot, death: Death, started: float, *, was_online: bool) -> None:
        """Decide what becomes of a slot whose worker died."""
        app, now = self.app, self.context.clock.seconds()
        limits = restart.Limits(
            min_uptime=app.min_uptime / 1000,
            max_restarts=app.max_restarts,
            first_delay=app.exp_backoff_restart_delay / 1000,
            autorestart=app.autorestart,
            least_delay=app.restart_delay / 1000,
        )
        exit_ = restart.Exit(started, was_online)
        chance = self.context.chance.random()
        decision = restart.decide(slot.history, exit_, now, limits, chance)
        error = self._error(death, was_online=was_online)
        self._report(slot, death, decision, error)
        slot.history, slot.state, slot.reason = decision.history, decision.state, death.reason
        if decision.delay is not None:
            slot.restarts += 1
        if decision.delay == 0:
            self.fill(slot)
        elif decision.delay is not None:
            slot.timer = self.context.clock.callLater(decision.delay, partial(self.fill, slot))
        if not was_online or decision.delay is None:
            self.failure = error
            self.waiters.fail(error)  # last: who waited may change everything

    def _report(
        self, slot: Slot, death: Death, decision: restart.Decision, error: WorkerError
    ) -> None:
        self._note(death)
        then = ""
        if decision.delay:
            then = f"; it is started again in {describe_seconds(decision.delay)}"
        if decision.state == "errored" and slot.state != "errored":
            then += f" (errored: it died young {decision.history.young} times in a row)"
            self.teller.errored(death.reason, decision.history.young)
        self.remark(error.message + then)
        if decision.state != "launching":
            self.teller.waits(slot.instance, decision.state, decision.delay or 0)

    def _note(self, death: Death) -> None:
        self.teller.death(death)
        self.alert.died(self.deaths.append(death))

    def _error(self, death: Death, *, was_online: bool) -> WorkerError:
        if death.pid is None:
            return WorkerError(f"{self.name}: {death.reason}")
        message = f"{self.name}: worker {death.instance} (process {death.pid}) {death.reason}"
        if death.reason.startswith(describe_exit(death.code, death.signal)):
            # what ood had against it tells of the time itself
            before = "" if was_online else ", before it answered"
            message += f" after {describe_seconds(death.uptime_seconds)}{before}"
        # Its own lines: those of other workers, or of a release before, would only mislead.
        return WorkerError(message, f"see: ood why {self.name}", death.evidence.log)

    def worker_fell(self, worker: WorkerProcess, death: Death) -> None:
        """A worker died of something else while it was being stopped."""
        self._note(death)
        self.remark(f"worker {worker.instance} (process {worker.pid}) {death.reason}")

    def worker_gone(self, worker: WorkerProcess) -> None:
        """Nothing is left of a worker."""
        self.leaving.discard(worker)
        self._close_if_gone()
        self.look()

    def worker_unfit(self, worker: WorkerProcess, why: str) -> None:
        """The guard can't work in this app's Node: use Node's own channel from now on."""
        if self.app.handoff == "guard":
            self.remark(f"the guard can't work here ({why}); handoff is guard, so nothing else is")
            return
        if self._unfit is None or needs_new_workers(self._unfit, worker.plan.app):
            self._unfit = worker.plan.app
            self.remark(f"the guard can't work here ({why}): Node's own cluster channel is used")
        self.leaving.add(worker)
        worker.stop(drain=False)
        slot = self.slots.get(worker.instance)
        if slot is not None and slot.worker is worker:
            slot.worker = None
            self.fill(slot)
        elif worker is self.spare.worker:
            self.spare.worker = None
        elif worker is self.fresh:
            self._launch_fresh(worker.instance, worker.plan.app)
        self.look()

    def _launch_fresh(self, instance: int, app: App) -> None:
        self.fresh = None
        try:
            self.fresh = self.launch(instance, app, held=True)
        except WorkerError as error:
            self.fresh_failure = error

    def drop_fresh(self, why: str) -> None:
        """End the new worker of a rolling restart."""
        worker, self.fresh = self.fresh, None
        if worker is not None:
            self.fresh_failure = WorkerError(f"{self.name}: {why}")
            self.retire(worker)

    def came_back(self, sock: socket.socket) -> None:
        """A client's idle connection came back from a draining worker."""
        ports = self.context.public_ports | {self.app.port}
        returned = returned_socket(sock, ports)
        edge = self.context.edge
        if returned is None or edge is None:
            sock.close()
            return
        edge.adopt(self.name, returned)

    # -- who comes to the door

    def admit(self, channel: FdChannel, hello: join.Hello, pid: int) -> str:
        """Take a process that joined; return why not, or nothing."""
        if hello.v != join.VERSION:
            return f"it speaks version {hello.v} of the protocol"
        for worker in self.workers():
            if worker.token == hello.token and worker.pid is not None:
                if not processes.belongs(pid, worker.pid):
                    return f"it is no process of worker {worker.instance}"
                refusal = worker.admit(channel, pid, self.hosts)
                if not refusal:
                    self.alert.joined(worker.joined()[-1])
                return refusal
        return "there is no such worker"

    def stranger(self, sock: socket.socket, pid: int) -> bool:
        """Take a stream of requests for other hosts."""
        edge = self.context.edge
        roots = [worker.pid for worker in self.workers() if worker.pid is not None]
        if edge is None or not any(processes.belongs(pid, root) for root in roots):
            return False
        edge.strangers(self.name, sock)
        return True

    def remark(self, text: str) -> None:
        """Tell the person who reads the app's log."""
        self.context.logs.remark(self.name, text)

    # -- waiting

    def when_settled(self) -> Deferred[None]:
        """Fire when everything is as wanted, fail when a new worker can't come up."""
        return self.waiters.when_settled()

    def when_available(self) -> Deferred[None]:
        """Fire when a worker can take requests."""
        return self.waiters.when_available()

    def _close_if_gone(self) -> None:
        """Give everything back when no worker is there any more."""
        if not self.gone:
            return
        self.alert.stop()
        self.extras.close()
        self.shared.close()
        for door in self._doors.values():
            door.close()
        self._doors.clear()
        self.when_gone()
