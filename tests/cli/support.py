"""The command line against an API in memory."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.api.site import Api
from ood.cli.access import Access
from ood.cli.client import ApiClient
from ood.cli.main import run
from ood.cli.output import Output
from ood.cli.session import Invocation, Session, Work
from ood.testing.controller import MemoryController
from ood.testing.desk import MemoryDesk

TOKEN = "test-token-0123456789"


class Terminal(io.StringIO):
    """Somebody looks at it."""

    def isatty(self) -> bool:
        return True


class Result:
    """What a command did."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def value(self) -> Any:
        return json.loads(self.out)


class CliCase(SynchronousTestCase):
    """Commands run as functions, with a controller that knows one app."""

    def setUp(self) -> None:
        self.controller = MemoryController()
        self.successResultOf(self.controller.init("shop.example", {"cwd": "/srv/shop"}))
        self.controller.calls.clear()
        self.token = TOKEN
        self.home = Path("/home/of/ood")
        self.clock = Clock()
        self.desk = MemoryDesk()
        self.api = Api(self.controller, TOKEN, certificates=self.desk)
        self.stub = StubTreq(self.api.root)

    def begin(self, invocation: Invocation, work: Work) -> Deferred[None]:
        access = Access(self.home, 2016, self.token)
        client = ApiClient(self.stub, access, self.clock)
        return Deferred.fromCoroutine(work(Session(client, invocation.output)))

    def meanwhile(self, done: Deferred[None]) -> None:
        """What happens while a command waits."""

    def ood(self, *arguments: str, terminal: bool = False) -> Result:
        out = Terminal() if terminal else io.StringIO()
        err = Terminal() if terminal else io.StringIO()
        invocation = Invocation(Output(out, err), None, self._runner)
        with contextlib.redirect_stdout(out):
            status = run(arguments, invocation)
        return Result(status, out.getvalue(), err.getvalue())

    def _runner(self, invocation: Invocation, work: Work) -> None:
        done = self.begin(invocation, work)
        failures: list[BaseException] = []
        done.addErrback(lambda failure: failures.append(failure.value))
        for _ in range(100):
            if not done.called:
                self.stub.flush()
        if not done.called:
            self.meanwhile(done)
        self.successResultOf(done)
        if failures:
            raise failures[0]
