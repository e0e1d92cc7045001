"""``ood doctor``: what was found, with what to do about it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ood.cli.doctor.checks import examine
from ood.cli.doctor.facts import FAIL, OK, WARN, Facts, Finding
from ood.cli.doctor.gather import gather
from ood.cli.output import Output
from ood.cli.session import Invocation, Session
from ood.cli.text import count
from ood.errors import OodError

COLOURS = {OK: "", WARN: "yellow", FAIL: "red"}
ANSWER_SECONDS = 5.0
"""How long the service may take to answer; a healthy one takes a millisecond."""


class UnhealthyError(OodError):
    """Something was found that keeps ood from working."""

    code = "unhealthy"


def ask(invocation: Invocation) -> tuple[dict[str, Any], OodError | None]:
    """Return what the service says of itself, and why if it does not."""
    answers: dict[str, Any] = {}

    async def work(session: Session) -> None:
        from ood.cli.client import ApiError

        client = session.client
        version = await client.ask("GET", "/version", timeout=ANSWER_SECONDS)
        answers["version"] = version["ood"]
        answers["settings"] = await client.ask("GET", "/settings", timeout=ANSWER_SECONDS)
        for what in ("apps", "certificates"):
            with suppress(ApiError):  # an ood without certificates says so
                answers.update(await client.ask("GET", f"/{what}", timeout=ANSWER_SECONDS))

    try:
        invocation.run(work)
    except OodError as error:
        return {}, error
    return answers, None


def doctor(invocation: Invocation) -> None:
    """Look at everything, and say what to do.

    :raises UnhealthyError: something does not work.
    """
    invocation.must_be_here("doctor")
    answers, fault = ask(invocation)
    report(invocation.output, gather(invocation.home_path, answers, fault))


def report(output: Output, facts: Facts) -> None:
    """Write what the checks find.

    :raises UnhealthyError: something does not work.
    """
    findings = examine(facts)
    failed = sum(one.level == FAIL for one in findings)
    warned = sum(one.level == WARN for one in findings)
    if output.json:
        plain = [asdict(one) for one in findings]
        output.value({"ok": not failed, "findings": plain})
    else:
        for finding in findings:
            _write(output, finding)
        output.say()
    if failed:
        raise UnhealthyError(f"{count(failed, 'failure')} and {count(warned, 'warning')}")
    if not output.json:
        output.say(f"Nothing fails; {count(warned, 'warning')}." if warned else "All is well.")


def _write(output: Output, finding: Finding) -> None:
    output.painted(
        f"{finding.level:<4}  {finding.check:<11}  {finding.text}", COLOURS[finding.level]
    )
    if finding.fix and finding.level != OK:
        output.say(f"{'':<19}→ {finding.fix}")
