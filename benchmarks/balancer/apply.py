"""How fast services get into the kernel, beside ``ipvsadm -R``, in user-mode Linux.

    python -m benchmarks.balancer.apply [--services 200] [--servers 5]

The goal is a seventh of ipvsadm's time.  One guest runs both, in turns; every
round begins with an empty table, and the table is compared in the end.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from twisted.internet.task import Clock

from ood.balancer.core.plan import make_plan
from ood.balancer.core.state import desired_state
from ood.balancer.kernel import KernelEngine
from ood.model.services import Server, Service
from tests.uml import runner

ROUNDS = 5


def services(count, servers):
    return tuple(
        Service(
            host=f"10.{n >> 8}.{n & 255}.1",
            port=80,
            servers=tuple(
                Server(host=f"10.{n >> 8}.{n & 255}.{m + 2}", port=8080, forwarder="m")
                for m in range(servers)
            ),
        )
        for n in range(count)
    )


def as_ipvsadm(wanted):
    lines = []
    for service in wanted:
        place = f"{service.host}:{service.port}"
        lines.append(f"-A -t {place} -s {service.scheduler}")
        lines += [f"-a -t {place} -r {s.host}:{s.port} -m -w {s.weight}" for s in service.servers]
    return "\n".join(lines) + "\n"


def take(deferred):
    """Return a result; the clock stands still, so large plans are pushed on by hand."""
    got = []
    deferred.addBoth(got.append)
    return got


def apply_ours(engine, clock, desired):
    began = time.perf_counter()
    actual = take(engine.read())
    while not actual:
        clock.advance(0)
    done = take(engine.execute(make_plan(desired, actual[0], {}, {}, 0.0).steps))
    while not done:
        clock.advance(0)
    assert done == [()], done
    return time.perf_counter() - began


def apply_theirs(text):
    began = time.perf_counter()
    subprocess.run(["ipvsadm", "-R"], input=text, text=True, check=True)
    return time.perf_counter() - began


def inside(count, servers):
    """Run in the guest."""
    clock = Clock()
    engine = KernelEngine(clock)
    wanted = services(count, servers)
    desired, text = desired_state(wanted), as_ipvsadm(wanted)
    ours, theirs, tables = [], [], set()
    for _ in range(ROUNDS):
        for seconds, run in (
            (ours, lambda: apply_ours(engine, clock, desired)),
            (theirs, lambda: apply_theirs(text)),
        ):
            seconds.append(run())
            tables.add(subprocess.run(["ipvsadm", "-Sn"], capture_output=True, check=True).stdout)
            engine.flush()
    assert len(tables) == 1, "both make the same table"
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(f"{count} services x {servers} servers in user-mode Linux, median of {ROUNDS}:")
    print(f"  ood {mine * 1000:.0f} ms (read, compare, apply)   ipvsadm -R {other * 1000:.0f} ms")
    print(f"  ood takes 1/{other / mine:.1f} of ipvsadm's time (goal: at most 1/7)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--servers", type=int, default=5)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.services, options.servers)
        return
    obstacle = runner.obstacle()
    if obstacle:
        raise SystemExit(obstacle)
    command = [sys.executable, "-m", "benchmarks.balancer.apply", "--inside"]
    sizes = ["--services", str(options.services), "--servers", str(options.servers)]
    result = runner.run([*command, *sizes], seconds=300)
    print(result.output, end="")
    if result.status:
        raise SystemExit(result.errors)


if __name__ == "__main__":
    main()
