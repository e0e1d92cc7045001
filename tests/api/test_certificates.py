"""The routes of certificates."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from ood.api.openapi import openapi_document
from ood.api.site import Api
from ood.certs.errors import CertificateError
from ood.interfaces import ICertificateDesk
from tests.api.support import TOKEN, ApiCase, StubTreq

PATH = "/api/v1/certificates"


class CertificateTests(ApiCase):
    """Each verb does what its name says."""

    def test_list(self) -> None:
        """All of them, with the properties that the document promises, and no key."""
        self.assertEqual(self.ask("GET", PATH).value, {"certificates": []})
        self.desk.put("shop.example", apps=("shop.example",))
        (one,) = self.ask("GET", PATH).value["certificates"]
        schema = openapi_document()["components"]["schemas"]["CertificateStatus"]
        self.assertEqual(set(one), set(schema["properties"]))
        self.assertFalse([name for name in schema["properties"] if "key" in name.lower()])
        self.assertEqual(self.ask("GET", f"{PATH}/shop.example").value, one)

    def test_unknown(self) -> None:
        """A name that has none is not found, whatever is asked."""
        for method, path in (("GET", ""), ("POST", "/renew"), ("POST", "/revoke"), ("DELETE", "")):
            self.assertEqual(self.ask(method, f"{PATH}/x.example{path}").status, 404)

    def test_add(self) -> None:
        """Files are named; what is wrong with the request is said all at once."""
        body = {"cert": "/etc/x.example.pem", "key": "/etc/x.key"}
        added = self.ask("POST", PATH, json=body)
        self.assertEqual((added.status, added.header("Location")), (201, f"{PATH}/x.example"))
        self.assertEqual(added.value["files"], ["/etc/x.example.pem", "/etc/x.key"])
        wrong = self.ask("POST", PATH, json={"cert": 1, "chain": 2, "more": 3})
        self.assertEqual(wrong.status, 400)
        keys = {fault["key"] for fault in wrong.error["faults"]}
        self.assertEqual(keys, {"cert", "key", "chain", "more"})
        self.desk.failure = CertificateError("the key does not belong to the certificate")
        refused = self.ask("POST", PATH, json=body)
        self.assertEqual((refused.status, refused.error["code"]), (400, "certificate"))

    def test_renew(self) -> None:
        """It is valid for longer."""
        before = self.desk.put("shop.example")
        after = self.ask("POST", f"{PATH}/shop.example/renew").value
        self.assertGreater(after["notAfter"], before.not_after)

    def test_remove(self) -> None:
        """One that is in use stays."""
        self.desk.put("used.example", apps=("shop.example",))
        self.desk.put("old.example")
        self.assertEqual(self.ask("DELETE", f"{PATH}/old.example").status, 204)
        self.assertEqual(self.ask("DELETE", f"{PATH}/used.example").status, 409)
        self.assertEqual(list(self.desk.kept), ["used.example"])

    def test_without_a_desk(self) -> None:
        """Where no certificates are kept, that is the answer."""
        self.treq = StubTreq(Api(self.controller, TOKEN).root)
        self.assertEqual(self.ask("GET", PATH).status, 503)

    def test_interface(self) -> None:
        """The desk in memory is one."""
        verifyObject(ICertificateDesk, self.desk)
