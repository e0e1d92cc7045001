"""The L4 routes: answers, errors and messages as clients of the seed system know them."""

from __future__ import annotations

import json

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from ood.balancer.interfaces import ILayer4
from ood.balancer.routes import layer4_resource
from ood.errors import StoreError

TOKEN = "s3cret"


@implementer(ILayer4)
class Memory:
    """The L4 services of an installation, without a store behind them."""

    def __init__(self):
        self.kept = ()
        self.changes = 0
        self.answer = lambda: succeed(None)

    def services(self):
        return self.kept

    def replace(self, services):
        self.changes += 1

        def keep(result):
            self.kept = services

        return self.answer().addCallback(keep)

    def statistics(self):
        server = {"10_0_1_1-80": {"active": 3}}
        return succeed({"tcp-10_0_0_1-80": {"connections": 7, "servers": server}})


def service(**fields):
    return {"host": "10.0.0.1", "port": 80, "scheduler": "rr", **fields}


def server(number=1, **fields):
    return {"host": f"10.0.1.{number}", "port": 80, "forwarder": "m", **fields}


ID = "tcp-10_0_0_1-80"


class RoutesCase(SynchronousTestCase):
    def setUp(self):
        self.layer4 = Memory()
        verifyObject(ILayer4, self.layer4)
        self.treq = StubTreq(
            layer4_resource(self.layer4, TOKEN, lambda: [("127.0.0.1", 2016), ("", 8443)])
        )

    def send(self, method, path, body=None, headers=None, raw=None):
        """Return status and body; the body has to be JSON that ends with a newline."""
        headers = {"X-AUTH-TOKEN": TOKEN} if headers is None else headers
        data = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
        asking = self.treq.request(method, f"http://api{path}", data=data, headers=headers)
        self.treq.flush()
        response = self.successResultOf(asking)
        content = self.successResultOf(response.content())
        if not content:
            return response.code, None
        self.assertTrue(content.endswith(b"\n"))
        self.assertEqual(response.headers.getRawHeaders("Content-Type"), ["application/json"])
        return response.code, json.loads(content)

    def refused(self, status, text, *request):
        self.assertEqual(self.send(*request), (status, {"error": text}))

    def add(self, *servers, **fields):
        return self.send("POST", "/services", service(servers=list(servers), **fields))


class ServicesTests(RoutesCase):
    def test_an_empty_list(self):
        self.assertEqual(self.send("GET", "/services"), (200, []))

    def test_adding(self):
        """A service is answered as it stands, and listed in order."""
        status, first = self.add(server())
        self.assertEqual((status, first["id"], first["persistence"]), (200, ID, 0))
        self.add(port=81)
        listed = self.send("GET", "/services")[1]
        self.assertEqual([one["port"] for one in listed], [80, 81])
        self.assertEqual(self.send("GET", f"/services/{ID}"), (200, first))

    def test_adding_again(self):
        """The same once more is no change; something else is a conflict."""
        self.add()
        self.assertEqual(self.add()[0], 200)
        self.assertEqual(self.layer4.changes, 1)
        self.refused(
            409,
            f"{ID} exists and is different (change it with PUT /services/:id)",
            *("POST", "/services", service(scheduler="wrr")),
        )

    def test_resetting(self):
        """The whole list is replaced, in the order given; the same list is no change."""
        self.add()
        wanted = [service(port=82), service(port=81)]
        status, answer = self.send("PUT", "/services", wanted)
        self.assertEqual((status, [one["port"] for one in answer]), (200, [82, 81]))
        self.send("PUT", "/services", wanted)
        self.assertEqual(self.layer4.changes, 2)

    def test_all_or_nothing(self):
        """One wrong service of many, or a doubled one, and nothing changes."""
        self.add()
        for wrong in (service(scheduler="best"), service(port=81)):
            status, _ = self.send("PUT", "/services", [service(port=81), wrong])
            self.assertEqual(status, 400)
        self.assertEqual([one.port for one in self.layer4.kept], [80])

    def test_replacing_one(self):
        """In place; an unknown id is 404, a malformed one 400."""
        self.add()
        self.add(port=81)
        self.assertEqual(self.send("PUT", f"/services/{ID}", service(scheduler="sh"))[0], 200)
        self.assertEqual([one.scheduler for one in self.layer4.kept], ["sh", "rr"])
        self.refused(
            404, "No Service Found", "PUT", "/services/tcp-10_0_0_9-80", service(host="10.0.0.9")
        )
        self.refused(400, "No Service Found", "PUT", "/services/nonsense", service())

    def test_replacing_by_another_id(self):
        """A service may get another address, unless that is taken."""
        self.add()
        self.add(port=81)
        self.assertEqual(self.send("PUT", f"/services/{ID}", service(port=82))[0], 200)
        status, _ = self.send("PUT", "/services/tcp-10_0_0_1-82", service(port=81))
        self.assertEqual(status, 409)
        self.assertEqual([one.port for one in self.layer4.kept], [82, 81])

    def test_deleting(self):
        """What is gone can be deleted again."""
        self.add()
        for _ in range(2):
            self.assertEqual(self.send("DELETE", f"/services/{ID}"), (200, {"msg": "Success"}))
        self.refused(404, "No Service Found", "GET", f"/services/{ID}")
        self.assertEqual(self.layer4.changes, 2)


class ServersTests(RoutesCase):
    path = f"/services/{ID}/servers"

    def test_life_of_a_server(self):
        """Added, shown, listed, deleted, deleted again."""
        self.add()
        status, added = self.send("POST", self.path, server())
        self.assertEqual((status, added["id"]), (200, "10_0_1_1-80"))
        self.assertEqual(self.send("GET", self.path), (200, [added]))
        self.assertEqual(self.send("GET", f"{self.path}/10_0_1_1-80"), (200, added))
        for _ in range(2):
            answer = self.send("DELETE", f"{self.path}/10_0_1_1-80")
            self.assertEqual(answer, (200, {"msg": "Success"}))
        self.refused(404, "No Server Found", "GET", f"{self.path}/10_0_1_1-80")

    def test_adding_again(self):
        self.add(server())
        self.assertEqual(self.send("POST", self.path, server())[0], 200)
        self.assertEqual(self.send("POST", self.path, server(weight=9))[0], 409)

    def test_resetting(self):
        """All or nothing."""
        self.add(server())
        self.assertEqual(self.send("PUT", self.path, [server(2), server(3, weight=-1)])[0], 400)
        self.assertEqual([one.host for one in self.layer4.kept[0].servers], ["10.0.1.1"])
        self.assertEqual(self.send("PUT", self.path, [server(3), server(2)])[0], 200)
        self.assertEqual([one.host[-1] for one in self.layer4.kept[0].servers], ["3", "2"])

    def test_without_the_service(self):
        for method, body in (("GET", None), ("POST", server()), ("PUT", [])):
            self.refused(404, "No Service Found", method, self.path, body)
        self.refused(404, "No Service Found", "GET", f"{self.path}/10_0_1_1-80")
        self.assertEqual(self.send("DELETE", f"{self.path}/x"), (200, {"msg": "Success"}))


class MessageTests(RoutesCase):
    def test_known_texts(self):
        """The texts that existing clients compare."""
        for body, text in (
            (service(type="sctp"), "Unsupported Protocol - 'sctp'"),
            (service(scheduler="best"), "Invalid Service Scheduler"),
            (service(servers=[server(forwarder="x")]), "Invalid Server Forwarder"),
            (
                service(servers=[server(forwarder="g", port=81)]),
                "Invalid Server Port for Forwarder",
            ),
            (service(host="127.0.0.1", port=2016), "Socket in use: '127.0.0.1:2016'"),
            (service(port=8443), "Socket in use: '10.0.0.1:8443'"),
        ):
            self.refused(400, text, "POST", "/services", body)
        self.assertEqual(self.add(host="10.0.0.1", port=2016)[0], 200)

    def test_bad_json(self):
        for raw in (b"", b"{", b"[" * 100_000, b"\xff"):
            found = self.send("POST", "/services", raw=raw)
            self.assertEqual(found, (400, {"error": "Bad JSON syntax received in body"}))

    def test_several_faults(self):
        """All of them are named, each with its place."""
        _, answer = self.send("PUT", "/services", [service(scheduler="best", port=0)])
        self.assertIn("[0].port: 0 is not valid", answer["error"])
        self.assertIn("[0].scheduler: Invalid Service Scheduler", answer["error"])

    def test_a_store_that_fails(self):
        """The error is told, and the next request is served."""
        self.layer4.answer = lambda: fail(StoreError("the disk is full"))
        self.assertEqual(self.add(), (500, {"error": "the disk is full"}))
        self.layer4.answer = lambda: succeed(None)
        self.assertEqual(self.add()[0], 200)

    def test_statistics(self):
        """They are added on demand, and clients that do not ask see what they know."""
        self.add(server())
        _, (one,) = self.send("GET", "/services?statistics=true")
        self.assertEqual(one["statistics"], {"connections": 7})
        self.assertEqual(one["servers"][0]["statistics"], {"active": 3})
        self.assertNotIn("statistics", self.send("GET", f"/services/{ID}")[1])


class TokenTests(RoutesCase):
    def test_both_names_both_places(self):
        for name in ("X-AUTH-TOKEN", "X-NANOBOX-TOKEN", "x-auth-token"):
            self.assertEqual(self.send("GET", "/services", headers={name: TOKEN})[0], 200)
        for name in ("X-AUTH-TOKEN", "X-NANOBOX-TOKEN"):
            self.assertEqual(self.send("GET", f"/services?{name}={TOKEN}", headers={})[0], 200)

    def test_without(self):
        """A mismatch is 401 with an empty body, and nothing is done."""
        for headers in ({}, {"X-AUTH-TOKEN": "wrong"}, {"X-AUTH-TOKEN": ""}):
            answer = self.send("POST", "/services", service(), headers=headers)
            self.assertEqual(answer, (401, None))
        self.assertEqual(self.layer4.changes, 0)

    def test_an_empty_token_opens_nothing(self):
        """An installation without a token does not let everybody in."""
        self.treq = StubTreq(layer4_resource(self.layer4, ""))
        self.assertEqual(self.send("GET", "/services", headers={"X-AUTH-TOKEN": ""})[0], 401)

    def test_options_are_exempt(self):
        self.assertEqual(self.send("OPTIONS", "/services", headers={}), (204, None))


class MethodTests(RoutesCase):
    def test_head(self):
        """HEAD is GET without its body; it needs the token too."""
        self.assertEqual(self.send("HEAD", "/services"), (200, None))
        self.assertEqual(self.send("HEAD", "/services", headers={}), (401, None))

    def test_others(self):
        """What a route does not do is 405, and says nothing else."""
        self.assertEqual(self.status("PATCH", "/services"), 405)
        self.assertEqual(self.status("POST", f"/services/{ID}"), 405)

    def status(self, method, path):
        asking = self.treq.request(method, f"http://api{path}", headers={"X-AUTH-TOKEN": TOKEN})
        self.treq.flush()
        return self.successResultOf(asking).code


class OrderTests(RoutesCase):
    def test_two_at_once(self):
        """Two changes at the same time both happen: the second waits for the first."""
        commits = []

        def commit():
            commits.append(Deferred())
            return commits[-1]

        self.layer4.answer = commit
        headers = {"X-AUTH-TOKEN": TOKEN}
        asking = [
            self.treq.post("http://api/services", data=json.dumps(body).encode(), headers=headers)
            for body in (service(), service(port=81))
        ]
        self.treq.flush()
        self.assertEqual(len(commits), 1)
        commits[0].callback(None)
        self.treq.flush()
        commits[1].callback(None)
        self.treq.flush()
        for one in asking:
            self.assertEqual(self.successResultOf(one).code, 200)
        self.assertEqual([one.port for one in self.layer4.kept], [80, 81])
