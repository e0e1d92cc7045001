"""Every route does what it says, and refuses what it says."""

from __future__ import annotations

from ood.api.operations import OPERATIONS
from ood.api.types import LOG_LINES_MAX
from ood.errors import UnavailableError, WorkerError
from ood.testing.controller import MemoryController
from tests.api.support import Answer, ApiCase

APP = "/api/v1/apps/shop.example"


class AppTests(ApiCase):
    """Apps are listed, added, changed and forgotten."""

    def test_list(self) -> None:
        """All apps come with their live state."""
        answer = self.ask("GET", "/api/v1/apps")
        self.assertEqual(answer.status, 200)
        [app] = answer.value["apps"]
        self.assertEqual(
            (app["name"], app["state"], app["workers"]), ("shop.example", "stopped", [])
        )

    def test_init(self) -> None:
        """A new app is answered with its configuration, its port, and its place."""
        answer = self.ask("POST", "/api/v1/apps", json={"name": "blog", "cwd": "/srv/blog"})
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.header("location"), "/api/v1/apps/blog")
        self.assertEqual(answer.value["cwd"], "/srv/blog")
        self.assertEqual(answer.value["port"], 3002)
        self.assertIn("blog", self.controller.document.apps)

    def test_init_names_every_fault(self) -> None:
        """What is wrong is listed whole, for programs too."""
        answer = self.ask("POST", "/api/v1/apps", json={"name": "A b", "cwd": "srv", "instnces": 2})
        self.assertEqual((answer.status, answer.error["code"]), (400, "invalid"))
        faults = {fault["key"]: fault for fault in answer.error["faults"]}
        self.assertEqual(set(faults), {"name", "cwd", "instnces"})
        self.assertIn("instances", faults["instnces"]["problem"])
        self.assertEqual(list(self.controller.document.apps), ["shop.example"])

    def test_init_without_name(self) -> None:
        """An app without a name is refused."""
        for body in ({"cwd": "/srv"}, {"name": None}, {"name": 7}):
            answer = self.ask("POST", "/api/v1/apps", json=body)
            self.assertEqual((answer.status, answer.error["faults"][0]["key"]), (400, "name"))

    def test_init_twice(self) -> None:
        """A name that is taken is a conflict."""
        answer = self.ask("POST", "/api/v1/apps", json={"name": "shop.example", "cwd": "/srv"})
        self.assertEqual((answer.status, answer.error["code"]), (409, "conflict"))

    def test_get(self) -> None:
        """One app comes with its live state."""
        answer = self.ask("GET", APP)
        self.assertEqual((answer.status, answer.value["name"]), (200, "shop.example"))

    def test_change(self) -> None:
        """Keys are changed together, one variable among them; null resets."""
        answer = self.ask("PATCH", APP, json={"instances": "3", "env.MODE": "x", "user": "www"})
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.value["instances"], 3)
        self.assertEqual(answer.value["env"], {"MODE": "x"})
        answer = self.ask("PATCH", APP, json={"instances": None, "env.MODE": None})
        self.assertEqual((answer.value["instances"], answer.value["env"]), (1, {}))
        self.assertEqual(answer.value["user"], "www")

    def test_change_all_or_nothing(self) -> None:
        """With one fault nothing is changed."""
        answer = self.ask("PATCH", APP, json={"instances": 3, "cwd": "nowhere"})
        self.assertEqual(answer.status, 400)
        self.assertEqual(self.ask("GET", f"{APP}/config").value["instances"], 1)

    def test_internal_key(self) -> None:
        """Whether an app runs is not changed behind start and stop's back."""
        answer = self.ask("PATCH", APP, json={"running": True})
        self.assertEqual((answer.status, answer.error["code"]), (400, "invalid"))

    def test_config(self) -> None:
        """The configuration comes with its defaults."""
        answer = self.ask("GET", f"{APP}/config")
        self.assertEqual((answer.value["cwd"], answer.value["killTimeout"]), ("/srv/shop", 30000))

    def test_delete(self) -> None:
        """A deleted app is gone, and there is nothing to say about it."""
        answer = self.ask("DELETE", APP)
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(self.ask("GET", APP).status, 404)

    def test_unknown_app(self) -> None:
        """Every route of an app says that there is none of that name."""
        for operation in OPERATIONS:
            if "{app}" not in operation.path:
                continue
            bodies = {"Order": {}, "Rollback": {}, "Maintain": {"on": True}}
            body = {"json": bodies.get(operation.body, {"instances": 1})} if operation.body else {}
            path = operation.path.replace("{app}", "nobody")
            answer = self.ask(operation.method, path, **body)
            self.assertEqual((answer.status, answer.error["code"]), (404, "not_found"), path)
            self.assertIn("shop.example", answer.error["hint"])


class CommandTests(ApiCase):
    """Commands are answered when what they ask for is true."""

    def test_commands(self) -> None:
        """Start, restart, scale and stop answer with the app's state."""
        self.assertEqual(self.ask("POST", f"{APP}/start").value["state"], "online")
        self.assertEqual(self.ask("POST", f"{APP}/restart").value["state"], "online")
        self.assertEqual(self.ask("POST", f"{APP}/stop").value["state"], "stopped")
        verbs = [call[0] for call in self.controller.calls]
        self.assertEqual(verbs, ["start", "restart", "stop"])

    def test_scale(self) -> None:
        """The number may be relative, and a number or a text."""
        for wanted, workers in (("3", 3), ("+2", 5), ("-1", 4), (2, 2)):
            answer = self.ask("POST", f"{APP}/scale", json={"instances": wanted})
            self.assertEqual((answer.status, answer.value["wanted"]), (200, workers))

    def test_scale_faults(self) -> None:
        """What is no number is refused."""
        for body in ({}, {"instances": True}, {"instances": "many"}, {"instances": 1, "x": 2}):
            answer = self.ask("POST", f"{APP}/scale", json=body)
            self.assertEqual((answer.status, answer.error["code"]), (400, "invalid"), body)

    def test_worker_error_carries_log(self) -> None:
        """An app that does not come up is answered with its last words."""
        self.controller.failure = WorkerError("it died", "look", ("SyntaxError: x",))
        answer = self.ask("POST", f"{APP}/start")
        self.assertEqual(answer.status, 502)
        self.assertEqual(
            answer.error,
            {"code": "worker", "message": "it died", "hint": "look", "log": ["SyntaxError: x"]},
        )

    def test_unavailable(self) -> None:
        """What can't be done now is 503."""
        self.controller.failure = UnavailableError("not now")
        self.assertEqual(self.ask("POST", f"{APP}/start").status, 503)

    def test_unexpected_failure(self) -> None:
        """A fault of ood itself is logged, and its details stay inside."""
        self.controller.failure = RuntimeError("secret detail")
        answer = self.ask("POST", f"{APP}/start")
        self.assertEqual((answer.status, answer.error["code"]), (500, "internal"))
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_waits(self) -> None:
        """The answer comes when the command is done, not before."""
        self.controller.held = []
        sent = self.send("POST", f"{APP}/start")
        self.treq.flush()
        self.assertNoResult(sent)
        self.controller.held[0].callback(None)
        self.assertEqual(self.finish(sent).value["state"], "online")

    def test_client_that_leaves(self) -> None:
        """A command that was begun is carried out though its client has gone."""
        self.controller.held = []
        sent = self.send("POST", f"{APP}/start")
        self.treq.flush()
        sent.cancel()
        self.failureResultOf(sent)
        self.treq.flush()
        self.controller.held[0].callback(None)
        self.assertEqual(self.controller.calls, [("start", "shop.example")])
        self.assertEqual(self.ask("GET", APP).value["state"], "online")

    def test_stop_answers_what_waits(self) -> None:
        """When the service stops, a command that waits is answered; later ones are refused."""
        self.controller.held = []
        sent = self.send("POST", f"{APP}/start")
        self.treq.flush()
        self.api.stop()
        answer = self.finish(sent)
        self.assertEqual((answer.status, answer.error["code"]), (503, "unavailable"))
        self.assertEqual(self.ask("POST", f"{APP}/start").status, 503)
        self.assertEqual(self.ask("GET", f"{APP}/log?follow=true").status, 503)
        self.controller.held[0].callback(None)


class OtherTests(ApiCase):
    """Settings, versions, health and the document."""

    def test_settings(self) -> None:
        """Settings are read with what is in force, changed, and reset."""
        self.assertEqual(self.ask("GET", "/api/v1/settings").value["httpPort"], 8080)
        answer = self.ask("PATCH", "/api/v1/settings", json={"httpPort": "81"})
        self.assertEqual((answer.status, answer.value["httpPort"]), (200, 81))
        answer = self.ask("PATCH", "/api/v1/settings", json={"httpPort": None})
        self.assertEqual(answer.value["httpPort"], 8080)

    def test_settings_fault(self) -> None:
        """A setting's fault names it."""
        answer = self.ask("PATCH", "/api/v1/settings", json={"httpPort": 70000})
        self.assertEqual(answer.error["faults"][0]["key"], "httpPort")

    def test_version(self) -> None:
        """The version is told."""
        self.assertIn("ood", self.ask("GET", "/api/v1/version").value)

    def test_public(self) -> None:
        """Health and the document need no token."""
        for path, key in (("/api/v1/health", "status"), ("/openapi.json", "openapi")):
            answer = self.ask("GET", path, headers={"Authorization": None})
            self.assertEqual(answer.status, 200)
            self.assertIn(key, answer.value)

    def test_head(self) -> None:
        """HEAD is GET without a body."""
        answer = self.ask("HEAD", APP)
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(self.ask("HEAD", f"{APP}/log?follow=true").status, 200)


class LogTests(ApiCase):
    """Logs are read."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(60):
            self.controller.log("shop.example", f"line {number}", "err" if number % 2 else "out")

    def test_default(self) -> None:
        """The last lines come, oldest first."""
        lines = self.ask("GET", f"{APP}/log").value["lines"]
        self.assertEqual(len(lines), 50)
        self.assertEqual(lines[-1]["text"], "line 59")

    def test_query(self) -> None:
        """Their number and stream may be chosen."""
        lines = self.ask("GET", f"{APP}/log?lines=2&stream=out").value["lines"]
        self.assertEqual([line["text"] for line in lines], ["line 56", "line 58"])
        self.assertEqual(self.ask("GET", f"{APP}/log?lines=0").value["lines"], [])

    def test_bad_query(self) -> None:
        """What is not right is named, whatever it is."""
        for query, key in (
            ("lines=-1", "lines"),
            ("lines=", "lines"),
            ("lines=%C2%B2", "lines"),
            (f"lines={LOG_LINES_MAX + 1}", "lines"),
            ("lines=1&lines=2", "lines"),
            ("stream=all", "stream"),
            ("follow=1", "follow"),
            ("folow=true", "folow"),
        ):
            answer = self.ask("GET", f"{APP}/log?{query}")
            self.assertEqual((answer.status, answer.error["code"]), (400, "invalid"), query)
            self.assertEqual(answer.error["faults"][0]["key"], key)


class FakeTests(ApiCase):
    """The fake keeps its promise."""

    def test_pass(self) -> None:
        """A controller in memory begins empty."""
        self.assertEqual(MemoryController().status(None), [])
        self.assertIsInstance(self.ask("GET", "/api/v1/version"), Answer)
