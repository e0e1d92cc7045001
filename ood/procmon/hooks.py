"""Programs that are run when something happens: as the service's own user, and bounded."""

from __future__ import annotations

import os
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorProcess, IReactorTime

from ood.errors import OodError
from ood.procmon.core.environment import DEFAULT_PATH, INHERITED
from ood.procmon.system import accounts
from ood.procmon.system.runner import Runner
from ood.procmon.workers.preflight import Command


class Hooks:
    """Runs programs, without a shell, each in a session of its own that ends with it.

    :param inherited: the service's own environment, of which they get a part.
    """

    def __init__(
        self, reactor: IReactorProcess, clock: IReactorTime, inherited: Mapping[str, str]
    ) -> None:
        self._runner = Runner(reactor, clock)
        self._inherited = inherited

    async def run(
        self, argv: tuple[str, ...], env: Mapping[str, str], stdin: bytes, seconds: float
    ) -> str:
        """Run a program; return what was wrong with it, empty if nothing was.

        :param env: variables that it gets beside those of the system.
        :param stdin: what it reads.
        :param seconds: how long it may take.
        """
        try:
            account = accounts.find(None, None)
            own = {"HOME": account.home, "USER": account.name, "LOGNAME": account.name}
            system = {k: v for k, v in self._inherited.items() if INHERITED.fullmatch(k)}
            environment = {"PATH": DEFAULT_PATH, **system, **own, **env}
            command = Command(argv, "/", account)
            with os.fdopen(os.memfd_create("stdin"), "w+b") as file:
                file.write(stdin)
                file.flush()
                file.seek(0)
                outcome = await self._runner.run(
                    command,
                    environment,
                    seconds=seconds,
                    said=lambda _: None,
                    stdin=file.fileno(),
                )
        except OodError as error:
            return error.message
        said = f": {outcome.lines[-1]}" if outcome.lines else ""
        return f"{argv[0]} {outcome.fault}{said}" if outcome.fault else ""
