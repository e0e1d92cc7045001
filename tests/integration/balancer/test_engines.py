"""The scenarios and the differential test, over both engines.

The userspace engine is played natively; the kernel once in user-mode Linux,
and every test reports its part of that run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.balancer.play import SIX, scripts
from tests.support.ipv6 import has_ipv6
from tests.uml import runner

RUN_SECONDS = 400
COMMAND = [sys.executable, "-m", "tests.integration.balancer.play"]


@cache
def userspace_results():
    done = subprocess.run(
        [*COMMAND, "userspace"],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        cwd=runner.PROJECT,
    )
    return results(done.stdout, done.stderr)


@cache
def kernel_results():
    obstacle = runner.obstacle()
    if obstacle:
        raise SkipTest(obstacle)
    try:
        done = runner.run([*COMMAND, "ipvs"], seconds=RUN_SECONDS)
    except runner.GuestFailed as error:
        return {}, str(error)  # once is enough: every test reports it
    return results(done.output, done.errors)


def results(output, errors):
    found = [json.loads(line) for line in output.splitlines()]
    return {result["name"]: result["problem"] for result in found}, errors


def report(case, found, name):
    problems, errors = found
    if name not in problems:
        case.fail(f"{name} was not played:\n{errors[-3000:]}")
    if problems[name] is not None:
        case.fail(f"{name}:\n{problems[name][-3000:]}")


def tests_of(kind, played):
    """Return one test method for each script."""

    def test_of(name, script):
        def test(self):
            if kind == "userspace" and name in SIX and not has_ipv6():
                raise SkipTest("this machine has no IPv6")
            report(self, played(), name)

        test.__doc__ = script.__doc__
        return test

    return {f"test_{name}": test_of(name, script) for name, script in scripts(kind).items()}


UserspaceEngineTests = type(
    "UserspaceEngineTests", (SynchronousTestCase,), tests_of("userspace", userspace_results)
)
KernelEngineTests = type(
    "KernelEngineTests", (SynchronousTestCase,), tests_of("ipvs", kernel_results)
)
