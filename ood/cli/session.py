"""One run of the ood command: who asks, how to answer, and the reactor it takes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ood.cli.access import find_access, resolve_home
from ood.cli.output import Output
from ood.errors import OodError

if TYPE_CHECKING:
    from ood.cli.client import ApiClient
    from ood.cli.remote import Tunnel


class StoppedError(OodError):
    """The person at the keyboard ended the command."""

    code = "stopped"


class HereOnlyError(OodError):
    """The command works on the machine that it runs on, and another one is meant."""

    code = "here_only"


class NotAsWantedError(Exception):
    """Everything was said; scripts shall see that something is not as it should be."""


@dataclass
class Session:
    """What a verb works with.

    :ivar client: asks the API.
    :ivar output: takes the results.
    :ivar tunnel: the way to the API, if it is on another machine.
    """

    client: ApiClient
    output: Output
    tunnel: Tunnel | None = None

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """Return a context that shows on a terminal what is waited for."""
        from ood.cli.progress import Progress

        return Progress(self.output.err, self.client.clock, what)


Work: TypeAlias = Callable[[Session], Coroutine[Any, Any, None]]
"""A verb, bound to its arguments."""


@dataclass
class Invocation:
    """The command line's global options, and how verbs are run.

    :ivar home: the home that was named, if any.
    :ivar output: takes the results.
    :ivar runner: runs a verb; tests put one here that needs no network.
    :ivar host: the other machine that is meant, if any, as ssh takes it.
    :ivar home_there: its home, if it was named.
    """

    output: Output
    home: str | None = None
    runner: Callable[[Invocation, Work], None] | None = None
    host: str | None = None
    home_there: str = ""

    @property
    def home_path(self) -> Path:
        """The home in question."""
        return resolve_home(self.home)

    def must_be_here(self, command: str) -> None:
        """Check that this machine is meant.

        :raises HereOnlyError: another one is.
        """
        if self.host is not None:
            hint = f"run it there: ssh {self.host} ood {command}"
            raise HereOnlyError(f"ood {command} works on the machine that it runs on", hint)

    def run(self, work: Work) -> None:
        """Run a verb to its end.

        :raises OodError: it was refused or failed.
        """
        (self.runner or run_on_reactor)(self, work)


def run_on_reactor(invocation: Invocation, work: Work) -> None:
    """Run ``work`` against the real service.

    :raises OodError: it was refused or failed, or there is no service.
    """
    if invocation.host is not None:
        _run_through_tunnel(invocation, invocation.host, work)
        return
    access = find_access(invocation.home_path)
    with _quick_imports():
        from twisted.internet import reactor

        from ood.cli.client import connect
    session = Session(connect(reactor, access), invocation.output)
    run_coroutine(lambda: work(session))


def _run_through_tunnel(invocation: Invocation, host: str, work: Work) -> None:
    from ood.cli.remote import tunnel

    with tunnel(host, invocation.home_there) as (made, access):
        with _quick_imports():
            from twisted.internet import reactor

            from ood.cli.client import connect
        client = connect(reactor, access, made.socket)
        session = Session(client, invocation.output, made)
        run_coroutine(lambda: work(session))


def run_coroutine(begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the reactor until the coroutine has ended; raise what it raised."""
    with _quick_imports():
        from twisted.internet import reactor as installed
        from twisted.internet.defer import Deferred
        from twisted.python.failure import Failure
    reactor: Any = installed
    results: list[object] = []
    running: list[Deferred[Any]] = []

    def ended(result: object) -> None:
        if not results:
            results.append(result)
            reactor.stop()

    def interrupted() -> None:
        # What the end of its connections then does to the verb is not its failure.
        if not results:
            results.append(StoppedError("stopped"))
            for one in running:
                one.cancel()  # a screen is put back

    def start() -> None:
        running.append(Deferred.fromCoroutine(begin()))
        _ = running[0].addBoth(ended)

    reactor.addSystemEventTrigger("before", "shutdown", interrupted)
    reactor.callWhenRunning(start)
    reactor.run()
    if isinstance(results[0], StoppedError):
        raise results[0]
    if isinstance(results[0], Failure):
        results[0].raiseException()


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Import without what this command never uses.

    The API is plain HTTP on loopback, and importing OpenSSL would take a quarter
    of the whole command's time; twisted does without it where it is missing.  The
    garbage collector would look at the same young objects again and again.
    """
    hidden = "OpenSSL" not in sys.modules
    modules: dict[str, Any] = sys.modules
    if hidden:
        modules["OpenSSL"] = None
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        if hidden:
            del modules["OpenSSL"]
