"""A process with an engine and the balancer's service, driven by lines of JSON.

``python -m tests.integration.balancer.engine_host ipvs|userspace`` reads
``{"do": ..., ...}`` from its standard input and answers each with one line.
"""

from __future__ import annotations

import json
import sys
import traceback

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver

from ood.balancer.core.ipvs import Timeouts as KernelTimeouts
from ood.balancer.kernel import KernelEngine
from ood.balancer.ownership import MemoryOwnership
from ood.balancer.relay import Timeouts
from ood.balancer.service import BalancerService
from ood.balancer.userspace import UserspaceEngine
from ood.clock import MonotonicClock
from ood.model.servicecheck import read_services


class Commands(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self, kind):
        self.kind = kind
        self.clock = MonotonicClock(reactor)
        self.ownership = MemoryOwnership()
        self.timeouts = Timeouts()
        self.service = None
        self.make()

    def make(self):
        if self.kind == "ipvs":
            engine = KernelEngine(self.clock)
        else:
            engine = UserspaceEngine(reactor, self.clock, self.timeouts)
        self.service = BalancerService(engine, self.clock, self.ownership, self.probe)
        self.service.startService()

    async def probe(self, service, server):
        return None

    def lineReceived(self, line):
        command = json.loads(line)
        work = getattr(self, "do_" + command.pop("do"))
        Deferred.fromCoroutine(self.run(work, command))

    async def run(self, work, command):
        try:
            answer = {"value": await work(**command)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        self.sendLine(json.dumps(answer).encode())

    async def do_configure(self, services):
        failures = await self.service.configure(read_services(services))
        return [f"{failure.step}: {failure.reason}" for failure in failures]

    async def do_statistics(self):
        return await self.service.statistics()

    async def do_timeouts(self, seconds):
        if self.kind == "ipvs":
            self.service.engine.set_timeouts(KernelTimeouts(udp=seconds))
        else:
            self.timeouts.udp_seconds = seconds

    async def do_restart(self):
        """Stop the service as ood does when it ends, and start another one."""
        await self.service.stopService()
        self.make()

    async def do_drift(self):
        return self.service.drift

    def connectionLost(self, reason):
        if reactor.running:
            reactor.stop()


if __name__ == "__main__":
    StandardIO(Commands(sys.argv[1]))
    reactor.run()
