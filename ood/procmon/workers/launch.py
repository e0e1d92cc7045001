"""How a worker is to be run, from its app's settings."""

from __future__ import annotations

from dataclasses import dataclass

from ood.model.document import App
from ood.procmon.context import Context, Plan
from ood.procmon.core import environment as core
from ood.procmon.workers.preflight import Command


@dataclass(frozen=True)
class Places:
    """The app's two sockets."""

    join: str
    back: str


@dataclass(frozen=True)
class Identity:
    """What tells one worker from the others.

    :ivar channel: whether it has an IPC channel.
    """

    token: str
    instance: int
    serial: int
    port: int
    channel: bool


def mode(app: App, unfit: bool) -> str:
    """Return how connections get into the workers: ``guard``, ``cluster`` or ``port``.

    :param unfit: the guard said that it can't work in this app's Node.
    """
    if app.interpreter not in ("node", "npm") or app.handoff == "never":
        return "port"
    if app.handoff == "guard":
        return "guard"
    if app.handoff == "cluster" or unfit or _permission(app):
        # Node's channel does not reach through npm.
        return "cluster" if app.interpreter == "node" else "port"
    return "guard"


def _permission(app: App) -> bool:
    """Tell whether Node's permission model is on: it forbids the guard what it needs."""
    options = [*app.node_args, *app.env.get("NODE_OPTIONS", "").split()]
    return any(one in ("--permission", "--experimental-permission") for one in options)


def environment(
    context: Context, plan: Plan, what: Command, places: Places, identity: Identity
) -> dict[str, str]:
    """Return a worker's environment."""
    guarded = plan.mode == "guard" or (plan.mode == "port" and plan.app.handoff != "never")
    debugged = any(one.startswith("--inspect") for one in plan.app.node_args)
    entry = core.Join(context.guard, places.join, places.back, identity.token, debugged)
    return core.build(
        core.Wish(
            app=plan.name,
            instance=identity.instance,
            port=identity.port,
            account=core.Account(what.account.name, what.account.home),
            inherited=context.inherited,
            own=plan.app.env,
            join=entry if guarded else None,
            channel=identity.channel,
            unique_id=identity.serial if plan.mode == "cluster" else None,
            wait_ready=plan.app.wait_ready,
            program_directory=what.program_directory,
        )
    )
