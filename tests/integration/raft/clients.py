"""Clients that note what they asked and saw, for a judge of linearizability."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from ood.clock import MonotonicClock
from ood.raft.client import RaftClient
from ood.raft.errors import RaftError
from ood.raft.sim.linearizability import Call, violations
from ood.raft.sim.registers import Operation
from ood.raft.tcp import TcpTransport
from tests.integration.raft.cluster import CLUSTER

# Longer than an election on a loaded machine, shorter than a test.
COMMAND_SECONDS = 15.0


def clock() -> MonotonicClock:
    return MonotonicClock(reactor)  # type: ignore[arg-type]


def sleep(seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)  # type: ignore[attr-defined]
    return done


class Recorder:
    """Several clients, working on a few keys until they are told to stop.

    :ivar calls: everything that was asked, with its result.
    """

    def __init__(
        self, addresses: Sequence[str], transports: Sequence[Any] | None = None, count: int = 4
    ) -> None:
        self.calls: list[Call] = []
        self.done = 0
        self.errors: list[str] = []
        self._stopping = False
        transports = transports or [TcpTransport(reactor, plaintext=True) for _ in range(count)]
        self._clients = [
            RaftClient(transport, addresses, CLUSTER, clock()) for transport in transports
        ]
        self._working: list[Deferred[None]] = []

    def start(self) -> None:
        """Let every client work."""
        self._working = [
            Deferred.fromCoroutine(self._work(number, client))
            for number, client in enumerate(self._clients)
        ]

    async def _work(self, number: int, client: RaftClient) -> None:
        random = Random(number)
        step = 0
        while not self._stopping:
            step += 1
            key = random.choice(("x", "y", "z"))
            operation = (
                Operation("get", key)
                if random.random() < 0.3
                else Operation("append", key, f"{number}.{step},")
            )
            await self._do(client, operation)
            await sleep(random.uniform(0.0, 0.01))

    async def _do(self, client: RaftClient, operation: Operation) -> None:
        start = time.monotonic_ns()
        end: int | None = None
        result: Any = None
        try:
            result = await self._ask(client, operation)
            end = time.monotonic_ns()
            self.done += 1
        except RaftError as error:
            self.errors.append(str(error))  # unknown: it may have happened at any time
        self.calls.append(Call(operation, start, end, result))

    async def _ask(self, client: RaftClient, operation: Operation) -> Any:
        if operation.name == "get":
            value = await client.query(operation.key.encode(), COMMAND_SECONDS)
            return value or ""
        body = msgspec.msgpack.encode(["append", operation.key, operation.value])
        before = await client.command(body, COMMAND_SECONDS)
        return len(before or "")

    async def until_more(self, count: int, seconds: float) -> None:
        """Return when ``count`` more calls were answered.

        :raises AssertionError: they were not, in that time.
        """
        goal, end = self.done + count, time.monotonic() + seconds
        while self.done < goal:
            if time.monotonic() > end:
                raise AssertionError(
                    f"only {count - (goal - self.done)} of {count} calls were answered"
                    f" in {seconds} s; {self.errors[-3:]}"
                )
            await sleep(0.02)

    async def stop(self) -> None:
        """Stop; return when every client has ended."""
        self._stopping = True
        await gatherResults(self._working)
        for client in self._clients:
            await client.close()

    def problems(self) -> list[str]:
        """Return the keys whose history no order explains."""
        return violations(self.calls)
