"""Play simulated histories: ``python -m ood.raft.simulate --seed 1 --histories 500``.

Every history is one seed; a failure prints its seed, and ``--seed N`` plays it
again, step for step.
"""

from __future__ import annotations

import argparse
import sys
import time

from ood.raft.sim.history import Result, play


def main(arguments: list[str] | None = None) -> int:
    """Play the histories, report, and return how the command ends."""
    options = _parse(arguments)
    start = time.monotonic()
    results = []
    for seed in range(options.seed, options.seed + options.histories):
        result = play(seed)
        results.append(result)
        if result.problem or options.verbose:
            print(_line(result), flush=True)
        if result.problem and not options.keep_going:
            break
    seconds = time.monotonic() - start
    print(_summary(results, seconds))
    return 1 if any(result.problem for result in results) else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ood.raft.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first history's seed")
    parser.add_argument("--histories", type=int, default=1, help="how many seeds from there on")
    parser.add_argument("--keep-going", action="store_true", help="go on after a failure")
    parser.add_argument("--verbose", action="store_true", help="a line for every history")
    return parser.parse_args(arguments)


def _line(result: Result) -> str:
    facts = (
        f"seed {result.seed}: {result.steps} steps, {result.leaders} leaders,"
        f" {result.committed} committed, {result.answered} answered"
    )
    return f"{facts}: {result.problem}" if result.problem else facts


def _summary(results: list[Result], seconds: float) -> str:
    failed = [result.seed for result in results if result.problem]
    verdict = f"failed: {failed}" if failed else "all promises kept"
    rate = len(results) / seconds if seconds else 0.0
    return (
        f"{len(results)} histories in {seconds:.1f} s ({rate:.1f} per second),"
        f" {sum(result.steps for result in results)} steps,"
        f" {sum(result.committed for result in results)} entries committed,"
        f" {sum(result.answered for result in results)} operations answered: {verdict}"
    )


if __name__ == "__main__":
    sys.exit(main())
