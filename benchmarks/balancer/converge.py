"""How much processor time it takes to converge 10,000 servers, natively.

    python -m benchmarks.balancer.converge [--services 2000] [--servers 5]

The fake kernel answers, and its own work is subtracted: it is what the real
kernel would do.  The goal is a second for the whole of it: validating the
document, reading the table, comparing and applying.
"""

from __future__ import annotations

import argparse
import statistics
import time

from twisted.internet.task import Clock

from benchmarks.balancer.apply import apply_ours, services
from ood.balancer.core.state import desired_state
from ood.balancer.kernel import KernelEngine
from ood.balancer.testing import FakeKernel
from ood.model.servicecheck import read_services

ROUNDS = 3


class TimedKernel(FakeKernel):
    """Counts the time that the kernel's part takes."""

    spent = 0.0

    def send(self, data):
        began = time.process_time()
        try:
            return super().send(data)
        finally:
            self.spent += time.process_time() - began


def timed(kernel, work):
    """Return what ``work`` returns, and the seconds it took without the kernel's."""
    kernel.spent = 0.0
    began = time.process_time()
    value = work()
    return value, time.process_time() - began - kernel.spent


def converge(documents):
    clock, kernel = Clock(), TimedKernel()
    engine = KernelEngine(clock, lambda: kernel)
    wanted, reading = timed(kernel, lambda: read_services(documents))
    desired, deriving = timed(kernel, lambda: desired_state(wanted))
    _, applying = timed(kernel, lambda: apply_ours(engine, clock, desired))
    _, checking = timed(kernel, lambda: apply_ours(engine, clock, desired))
    return reading, deriving + applying, checking


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=2000)
    parser.add_argument("--servers", type=int, default=5)
    options = parser.parse_args()
    documents = [one.document() for one in services(options.services, options.servers)]
    rounds = [converge(documents) for _ in range(ROUNDS)]
    reading, applying, checking = (
        statistics.median(column) for column in zip(*rounds, strict=True)
    )
    total = reading + applying
    print(f"{options.services} services x {options.servers} servers, CPU seconds, {ROUNDS} rounds:")
    print(f"  validate {reading:.2f}  apply to an empty table {applying:.2f}  total {total:.2f}")
    print(f"  read and compare when nothing changed {checking:.2f}  (goal: a second)")


if __name__ == "__main__":
    main()
