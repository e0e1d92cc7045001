"""Our own transports and stores keep what their interfaces promise."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import TestCase

from ood.raft.log import GatheringLog, WalPersistence
from ood.raft.memory import MemoryNetwork, MemoryPersistence, MemoryTransport
from ood.raft.tcp import TcpTransport
from ood.raft.tls import TlsOptions
from ood.raft.wal import Wal
from ood.testing.raft_files import MemoryFiles
from ood.testing.raft_persistence import PersistenceConformance
from ood.testing.raft_transport import TransportConformance
from tests.raft.certificates import make_certificates
from tests.support.ports import free_port


class MemoryTransportTests(TransportConformance, TestCase):
    def make_pair(self) -> Any:
        network = MemoryNetwork()
        return MemoryTransport(reactor, network), MemoryTransport(reactor, network), "there"


class TcpTransportTests(TransportConformance, TestCase):
    def make_pair(self) -> Any:
        make = lambda: TcpTransport(reactor, plaintext=True)  # noqa: E731
        return make(), make(), f"127.0.0.1:{free_port()}"


class TlsTransportTests(TransportConformance, TestCase):
    def make_pair(self) -> Any:
        path = self.mktemp()
        files = make_certificates(path, ["a", "b"])
        a, b = (TcpTransport(reactor, TlsOptions(*files[name])) for name in ("a", "b"))
        return a, b, f"127.0.0.1:{free_port()}"


class MemoryPersistenceTests(PersistenceConformance, TestCase):
    def setUp(self) -> None:
        self.store = MemoryPersistence()

    def make(self) -> Any:
        return self.store


class WalPersistenceTests(PersistenceConformance, TestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()

    def make(self) -> Any:
        return WalPersistence(self.path, reactor)


class WalInMemoryTests(PersistenceConformance, TestCase):
    """The same log over the directory that the crash tests use."""

    def setUp(self) -> None:
        self.files = MemoryFiles()

    def make(self) -> Any:
        def run(function: Any) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            reactor.callLater(0, lambda: done.callback(function()))  # type: ignore[attr-defined]
            return done

        return GatheringLog(Wal(self.files), run, run)


class JsonFile:
    """A plain object with save and load, as a user may write it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def save(self, state: Any) -> None:
        with open(self.path, "w") as file:
            json.dump(state, file)

    def load(self) -> Any:
        if not os.path.exists(self.path):
            return None
        with open(self.path) as file:
            return json.load(file)


class PlainTests(PersistenceConformance, TestCase):
    """Plain synchronous save and load."""

    def setUp(self) -> None:
        self.path = self.mktemp()

    def make(self) -> Any:
        return JsonFile(self.path)


class CallbackFile(JsonFile):
    """The seed's form: nothing is returned, a callback is called later."""

    def save(self, state: Any, callback: Any) -> None:  # type: ignore[override]
        super().save(state)
        reactor.callLater(0, callback, None)  # type: ignore[attr-defined]

    def load(self, callback: Any) -> None:  # type: ignore[override]
        reactor.callLater(0, callback, None, super().load())  # type: ignore[attr-defined]


class CallbackTests(PlainTests):
    def make(self) -> Any:
        return CallbackFile(self.path)


class DeferredFile(JsonFile):
    """Deferreds where callbacks are optional."""

    def save(self, state: Any, callback: Any = None) -> Any:
        return succeed(super().save(state))

    def load(self, callback: Any = None) -> Any:
        return succeed(super().load())


class DeferredTests(PlainTests):
    def make(self) -> Any:
        return DeferredFile(self.path)
