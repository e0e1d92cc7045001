"""How long ``ood deploy`` and ``ood rollback`` take while clients keep asking.

python benchmarks/releases/run.py [WORKERS]
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.integration.test_releases import HOST, Load, write_site
from tests.support.ood import RunningOod, wait_until

ROUNDS = 10


def measured(service: RunningOod, *arguments: str) -> float:
    """Return how many seconds a command takes, its own start included."""
    began = time.monotonic()
    service.ood(*arguments)
    return time.monotonic() - began


def main() -> None:
    """Measure, with the number of workers from the command line."""
    workers = sys.argv[1] if len(sys.argv) > 1 else "2"
    with RunningOod() as service:
        site = write_site(service.directory / "site", "first")
        options = ("--script", "server.js", "--instances", workers)
        service.ood("init", HOST, "--cwd", str(site), *options)
        service.ood("deploy", HOST)
        service.ood("start", HOST)
        with Load(service.http_port) as load:
            wait_until(lambda: load.answers > 50, "the load runs")
            deploys = [measured(service, "deploy", HOST)]
            names = [one["name"] for one in service.json("releases", HOST)["releases"]]
            backs = [
                measured(service, "rollback", HOST, names[1 - turn % 2]) for turn in range(ROUNDS)
            ]
        report("deploy", deploys)
        report("rollback", backs)
        print(f"{load.answers} answers, {len(load.failures)} failures or closes")


def report(name: str, seconds: list[float]) -> None:
    """Print the median and the worst."""
    median, worst = statistics.median(seconds), max(seconds)
    print(f"{name:<8} median {median:.2f} s  worst {worst:.2f} s  ({len(seconds)} runs)")


if __name__ == "__main__":
    main()
