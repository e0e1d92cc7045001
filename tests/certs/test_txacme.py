"""ood's store and responders are txacme's, where txacme is installed (``ood[txacme]``)."""

from __future__ import annotations

import copy
from pathlib import Path

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface
from zope.interface.interface import InterfaceClass, Method
from zope.interface.verify import verifyObject

from ood.certs.dnshook import DnsHookResponder
from ood.certs.responders import HttpResponder, TlsResponder
from ood.certs.store import DirectoryStore
from ood.clock import wall_time

try:
    from txacme import interfaces as theirs
    from txacme.store import DirectoryStore as TheirStore
except ImportError:
    theirs = None


def without_self(interface: InterfaceClass) -> InterfaceClass:
    """Return ``interface`` as it is meant.

    txacme declares the store's methods with ``self``, so that nothing can verify it.
    """
    methods = {}
    for name, method in interface.namesAndDescriptions():
        assert isinstance(method, Method)
        meant = copy.copy(method)
        meant.positional, meant.required = method.positional[1:], method.required[1:]
        methods[name] = meant
    return InterfaceClass(interface.__name__, (Interface,), methods)


class TxacmeTests(SynchronousTestCase):
    """What txacme's interfaces promise, ood's classes keep."""

    if theirs is None:
        skip = "needs txacme 0.9.3 (ood[txacme])"

    def test_responders(self) -> None:
        """All three are txacme's responders."""
        hook = DnsHookResponder(None, None, ("true",), Path(self.mktemp()))
        for responder in (HttpResponder(), TlsResponder(wall_time), hook):
            verifyObject(theirs.IResponder, responder)

    def test_store(self) -> None:
        """The store is txacme's, as much as txacme's own."""
        store = DirectoryStore(Path(self.mktemp()))
        self.assertTrue(theirs.ICertificateStore.providedBy(store))
        meant = without_self(theirs.ICertificateStore)
        for one in (store, TheirStore(FilePath(self.mktemp()))):
            verifyObject(meant, one, tentative=True)
