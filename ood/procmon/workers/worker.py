"""One worker: a process that ood started, with whatever it starts itself."""

from __future__ import annotations

import secrets
import signal
import socket
from pathlib import Path

from twisted.internet.interfaces import IDelayedCall

from ood.errors import OodError, WorkerError
from ood.interfaces import Upstream
from ood.interfaces import Worker as PoolWorker
from ood.net.fdchannel import FdChannel
from ood.procmon.context import Context, Plan
from ood.procmon.core import cluster, join
from ood.procmon.deaths.record import describe_exit
from ood.procmon.deaths.witness import Witness
from ood.procmon.members.base import Entry, Member, SocketMember
from ood.procmon.members.cluster import ClusterMember
from ood.procmon.members.joined import JoinedMember
from ood.procmon.members.port import PortMember, accepts, free_port
from ood.procmon.system.changes import Changes
from ood.procmon.system.ending import Family
from ood.procmon.system.process import RootProcess, spawn
from ood.procmon.workers.crew import Crew
from ood.procmon.workers.drain import Drain
from ood.procmon.workers.health import Checkup
from ood.procmon.workers.ipc import IpcChannel
from ood.procmon.workers.launch import Identity, Places, environment
from ood.procmon.workers.output import Output
from ood.procmon.workers.passing import death, look_back
from ood.procmon.workers.preflight import Command, command

PORT_POLL_SECONDS = 0.05
"""How often a port is tried until it accepts; on loopback a try costs some microseconds."""
LAST_WORDS_SECONDS = 0.25
"""How long after an exit its output may still arrive, when a grandchild holds the pipe."""
LEFTOVER_SECONDS = 5.0
"""How long the children of a worker that died, or one that hangs, may take to end."""
STOP_SHARE = 0.2
"""Part of killTimeout that is kept for the stop signal after a drain."""
PROCESSES_MAX = 256
"""Processes of one worker that may join: an app's own cluster has one for each processor."""
REQUESTED = ("draining", "stopping", "stopped")


class WorkerProcess:
    """One worker.

    :ivar was_online: whether it ever answered.
    :ivar instance: its place among the app's workers.
    :ivar number: its NODE_APP_INSTANCE; a spare that took a place keeps its own.
    :ivar serial: counts workers of an app; a later one has a higher number.
    :ivar held: whether it gets no requests though it may be online: others serve.
    :ivar process: its root process.
    :ivar witness: knows what there is to know should it die.
    """

    def __init__(
        self,
        context: Context,
        plan: Plan,
        crew: Crew,
        places: Places,
        *,
        instance: int,
        serial: int,
        held: bool = False,
    ) -> None:
        self.context = context
        self.plan = plan
        self.crew = crew
        self.instance = self.number = instance
        self.serial = serial
        self.held = held
        self._state = "launching"
        self.was_online = False
        self.pid: int | None = None
        self.token = secrets.token_urlsafe(16)
        self.members: list[Member] = []
        self.started = context.clock.seconds()
        self._places = places
        self._ready = not plan.app.wait_ready
        self._told = False  # of its end
        self._changes = Changes(context.clock)
        self._output = Output(context.clock, context.logs, plan.name, instance)
        directory = Path(places.join).parent
        self.witness = Witness(context.clock, context.oom, directory, self._output.tail)
        self.process = process = RootProcess(self._output.write, self._process_changed)
        self._drain = Drain(crew, self.members, lambda: process.exited, self._changes)
        self._ipc: IpcChannel | None = None
        self._family: Family | None = None
        self._own_port: int | None = None
        self._listen_timer: IDelayedCall | None = None
        self._other_timer: IDelayedCall | None = None
        self._checkup: Checkup | None = None

    @property
    def state(self) -> str:
        """``launching``, ``online``, ``draining``, ``stopping`` or ``stopped``."""
        return self._state

    def _enter(self, state: str) -> None:
        self._state = state
        self.crew.teller.worker(self)

    # -- beginning

    def start(self) -> None:
        """Start the process.

        :raises OodError: it can't be started; nothing is left of it then.
        """
        clock = self.context.clock
        try:
            what = command(self.plan.app, self.context.runtime, self.context.inherited.get("PATH"))
            self._spawn(what)
        except OodError:
            self._release()
            raise
        except OSError as error:
            self._release()
            raise WorkerError(f"can't start a process: {error}", "see: ulimit -a") from None
        self.crew.teller.worker(self)
        timeout = self.plan.app.listen_timeout / 1000
        self._listen_timer = clock.callLater(timeout, self._too_late)
        if self._own_port is not None:
            self._add_member(PortMember(self._pool_worker(), self._own_port))
            self._other_timer = clock.callLater(PORT_POLL_SECONDS, self._try_port)

    def _spawn(self, what: Command) -> None:
        context, plan = self.context, self.plan
        if plan.mode == "port":
            taken = frozenset(context.taken_ports)
            self._own_port = free_port(taken, context.chance)
            context.taken_ports.add(self._own_port)
        if plan.app.interpreter == "node":
            self._ipc = IpcChannel(context.fds, context.clock, self._ipc_message, self._ipc_lost)
        port = self._own_port or plan.app.port
        identity = Identity(self.token, self.instance, self.serial, port, self._ipc is not None)
        env = environment(context, plan, what, self._places, identity)
        ipc = None if self._ipc is None else self._ipc.theirs.fileno()
        self.pid = spawn(context.processes, self.process, what, env, ipc)
        self._family = Family(context.clock, self.pid)
        if self._ipc is None:
            return
        self._ipc.start()
        if plan.mode == "cluster":
            member = ClusterMember(
                self._pool_worker(),
                self,
                plan.app.port,
                send=self._ipc.send,
                shared=self.crew.shared,
                clock=context.clock,
            )
            self._ipc.channel.blocked_changed = member.blocked_changed
            self._add_member(member)

    def _pool_worker(self) -> PoolWorker:
        return PoolWorker(app=self.plan.name, instance=self.instance, accepting=False)

    def _add_member(self, member: Member) -> None:
        self.members.append(member)
        self.crew.roster.add(member)

    def _try_port(self) -> None:
        self._other_timer = None
        if self.state != "launching":
            return
        member = self.members[0]
        if isinstance(member, PortMember) and accepts(member.port):
            member.listening = True
            self.member_changed()
        if self.state == "launching":
            clock = self.context.clock
            self._other_timer = clock.callLater(PORT_POLL_SECONDS, self._try_port)

    def _too_late(self) -> None:
        self._listen_timer = None
        listening = any(member.listening for member in self.members)
        missing = "did not say that it is ready" if listening else "did not listen on a port"
        self._fail(f"{missing} within {self.plan.app.listen_timeout / 1000:g} s")

    # -- joining

    def admit(self, channel: FdChannel, pid: int, hosts: join.Hosts) -> str:
        """Take a process that joined; return why not, or nothing."""
        if self.state not in ("launching", "online"):
            return "its worker is being stopped"
        if len(self.members) >= PROCESSES_MAX or self._family is None:
            return "too many processes of this worker have joined"
        self._family.note(pid)
        member = JoinedMember(
            self._pool_worker(),
            self,
            self._own_port or self.plan.app.port,
            channel=channel,
            pid=pid,
            clock=self.context.clock,
            traffic=self.context.traffic.of(self.plan.name),
        )
        self._add_member(member)
        member.tell_hosts(hosts)
        return ""

    def joined(self) -> list[JoinedMember]:
        """Return the processes that joined."""
        return [member for member in self.members if isinstance(member, JoinedMember)]

    # -- what members tell

    def member_changed(self) -> None:
        """A server of a member opened or closed, or a member drained."""
        if (
            self.state == "launching"
            and self._ready
            and self._checkup is None
            and any(member.listening for member in self.members)
        ):
            self._came_up()
        self._open_doors()
        self._changes.notify()
        self.crew.worker_changed(self)

    def _open_doors(self) -> None:
        for member in self.members:
            serves = self.state == "online" and not self.held and not self.witness.hung
            accepting = serves and member.listening and not member.short
            if member.worker.accepting != accepting:
                self.crew.roster.accept(member, accepting)

    def serve(self) -> None:
        """Let it have requests."""
        self.held = False
        self._open_doors()
        self.crew.worker_changed(self)

    def _came_up(self) -> None:
        """It listens and is ready: ask whether it is healthy, if that is wanted."""
        app, context = self.plan.app, self.context
        if app.health_path is None:
            self._online()
            return
        self._cancel_timers()
        self._checkup = Checkup(
            context.fds, context.clock, self._connect, self._healthy, self._fail
        )
        host = f"{self.plan.name}.localhost"
        self._checkup.start(app.health_path, host, app.health_timeout / 1000)

    def _healthy(self) -> None:
        """It answered as it should: whoever waits for it has to look, for no member changed."""
        self._online()
        self._changes.notify()
        self.crew.worker_changed(self)

    def _connect(self) -> Upstream | None:
        tried = (member.connect() for member in self.members if member.listening)
        return next((upstream for upstream in tried if upstream is not None), None)

    def _online(self) -> None:
        self._cancel_timers()
        self._enter("online")
        self.was_online = True
        self._open_doors()
        self.crew.worker_online(self)

    def member_lost(self, member: SocketMember) -> None:
        """The process at the other end is gone."""
        if member in self.members:
            self.members.remove(member)
            self.crew.roster.remove(member)
        if isinstance(member, JoinedMember):
            self.witness.gone(member)
        self.member_changed()

    def refused(self, member: SocketMember, entry: Entry) -> None:
        """A member did not take a connection."""
        self.crew.roster.refused(member, entry)

    def came_back(self, sock: socket.socket) -> None:
        """A draining member gave an idle connection back."""
        self.crew.came_back(sock)

    def ready(self) -> None:
        """The app said that it is ready."""
        if not self._ready:
            self._ready = True
            self.member_changed()

    def unfit(self, why: str) -> None:
        """The guard can't work in this Node."""
        if self.state == "launching" and self.plan.mode == "guard":
            self.crew.worker_unfit(self, why)

    def misbehaved(self, why: str) -> None:
        """A member broke the protocol: this worker is replaced."""
        self._fail(f"broke the join protocol: {why}")

    def remark(self, text: str) -> None:
        """Tell the person who reads the app's log."""
        self.context.logs.remark(self.plan.name, text)

    def hangs(self, why: str) -> None:
        """Its event loop does not turn any more: it is replaced, after a look into it."""
        if not self.witness.hung:
            self.witness.hung = True
            self._open_doors()
            name = f"a look into worker {self.instance} of {self.plan.name}"
            self.context.background.run(name, self._look_into(why))

    async def _look_into(self, why: str) -> None:
        stuck = max(self.joined(), key=lambda member: member.silent_seconds())
        await self.witness.look_into(stuck, self.context.stacks)
        for call in self.witness.stack:
            self.remark(f"it hangs in {call}")
        self._fail(why)

    def _ipc_message(self, message: cluster.Message) -> None:
        if isinstance(message, cluster.User):
            if message.value == "ready":
                self.ready()
        elif isinstance(message, cluster.Unfit):
            self.unfit(message.why)
        elif self.members and isinstance(member := self.members[0], ClusterMember):
            member.received(message)

    def _ipc_lost(self) -> None:
        for member in list(self.members):
            if isinstance(member, ClusterMember):
                member.lost()

    # -- ending

    def _process_changed(self) -> None:
        self._changes.notify()
        if not self.process.exited or self.state in REQUESTED:
            if self.process.ended:
                self._look_back()
            return
        for member in self.members:
            self.crew.roster.accept(member, False)
        if self.process.ended:
            self._died()
        elif self._other_timer is None or not self._other_timer.active():
            self._cancel_timers()
            self._other_timer = self.context.clock.callLater(LAST_WORDS_SECONDS, self._died)

    def _died(self) -> None:
        self._fail(describe_exit(self.process.code, self.process.signal))

    def _fail(self, reason: str) -> None:
        """It can't be used any more: tell, and end what is left of it."""
        if self.state in REQUESTED:
            return
        self._output.end()
        self._enter("stopping")
        self._open_doors()
        self._cancel_timers()
        self._told = True
        self.crew.worker_failed(self, death(self, reason))
        self._begin_to_stop()

    def _look_back(self) -> None:
        """Tell, once, of an end that was not the one asked for."""
        if self.process.exited and self._family is not None and not self._told:
            self._told = True
            self._output.end()
            look_back(self, self._family.sent)

    def stop(self, *, drain: bool) -> None:
        """End the worker; ``crew.worker_gone`` is called when nothing is left."""
        if self.state in REQUESTED:
            return
        self._cancel_timers()
        online = self.state == "online"
        self._enter("draining" if drain and online else "stopping")
        self._open_doors()
        self._begin_to_stop()

    def _begin_to_stop(self) -> None:
        name = f"stopping worker {self.instance} of {self.plan.name}"
        self.context.background.run(name, self._stop())

    async def _stop(self) -> None:
        app, now = self.crew.app, self.context.clock.seconds()
        allowed = app.kill_timeout / 1000
        try:
            if self.state == "draining":
                finishes = self.plan.mode == "cluster"
                await self._drain.run(now + allowed * (1 - STOP_SHARE), finishes=finishes)
                self._enter("stopping")
                self.crew.worker_changed(self)
            died = self.process.exited or self.witness.hung
            deadline = now + (min(allowed, LEFTOVER_SECONDS) if died else allowed)
            await self._end(signal.Signals[app.stop_signal], deadline)
        finally:
            self._release()
            self.crew.worker_gone(self)

    async def _end(self, number: signal.Signals, deadline: float) -> None:
        if self._family is None:
            return
        survivors = await self._family.end(number, deadline, lambda: self.process.exited)
        if survivors:
            pids = ", ".join(str(process.pid) for process in survivors)
            self.remark(f"SIGKILL does not end process {pids}")
            return
        last_words = self.context.clock.seconds() + LAST_WORDS_SECONDS
        await self._changes.until(lambda: self.process.ended, last_words)

    def _cancel_timers(self) -> None:
        for timer in (self._listen_timer, self._other_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._listen_timer = self._other_timer = None
        if self._checkup is not None:
            self._checkup.stop()

    def _release(self) -> None:
        """Give everything back."""
        self._look_back()
        self._enter("stopped")
        self._cancel_timers()
        self._output.end()
        for member in list(self.members):
            member.close()
            self.crew.roster.remove(member)
            if isinstance(member, JoinedMember):
                self.witness.gone(member)
        self.members.clear()
        if self._ipc is not None:
            self._ipc.close()
        if self.pid is not None and not self.process.ended:
            self.process.transport.loseConnection()
        self.context.taken_ports.discard(self._own_port or 0)
