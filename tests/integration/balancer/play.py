"""Plays scenarios on one engine and prints how each went, as lines of JSON.

``python -m tests.integration.balancer.play ipvs|userspace`` is what the guest
runs; the host's tests read its lines.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from functools import partial

from twisted.internet.task import Clock

from ood.balancer.kernel import KernelEngine
from tests.balancer.contract import CONTRACT
from tests.integration.balancer.bench import Bench
from tests.integration.balancer.differential import CASES, compare
from tests.integration.balancer.scenarios import KERNEL_ONLY, SCENARIOS
from tests.support.ipv6 import has_ipv6


def scripts(kind):
    """Return everything that is played on an engine, by name."""
    played = dict(SCENARIOS)
    if kind == "ipvs":
        played.update(KERNEL_ONLY)
        played.update({f"contract_{name}": partial(keep, clause=c) for name, c in CONTRACT.items()})
    played.update({f"differential_{case}": partial(compare, case=case) for case in CASES})
    return played


SIX = {"ipv6_works", *(f"differential_{case}" for case in CASES if CASES[case].get("six"))}
"""What needs IPv6."""


def keep(_bench, clause):
    """Check a clause of the contract on the real kernel, without a service in between."""
    engine = KernelEngine(Clock())
    try:
        clause(engine)
    finally:
        engine.flush()


def play(bench, script):
    """Play one; return what went wrong, or None."""
    try:
        script(bench)
    except Exception:
        return traceback.format_exc()
    finally:
        bench.drop()
        bench.configure()
    return None


def main(kind):
    bench = Bench(kind)
    try:
        for name, script in scripts(kind).items():
            if name in SIX and not has_ipv6():
                continue
            began = time.monotonic()
            problem = play(bench, script)
            seconds = round(time.monotonic() - began, 2)
            print(json.dumps({"name": name, "problem": problem, "seconds": seconds}), flush=True)
    finally:
        bench.close()


if __name__ == "__main__":
    main(sys.argv[1])
