"""Deployments over the API: a line for each step, and the result at the end."""

from __future__ import annotations

import json
from typing import Any

from ood.errors import ReleaseError
from tests.api.support import Answer, ApiCase

APP = "/api/v1/apps/shop.example"


def lines(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.body.splitlines()]


class DeployTests(ApiCase):
    """Releases are made, listed, gone back to and purged."""

    def test_lines(self) -> None:
        """Steps come as lines, the app's state as the last one."""
        answer = self.ask("POST", f"{APP}/deploy", json={"source": "/srv/new"})
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.header("Content-Type"), "application/x-ndjson")
        first, second, last = lines(answer)
        self.assertEqual(first, {"step": "copying", "elapsedMs": 0, "line": ""})
        self.assertEqual(second["line"], "added 3 packages")
        self.assertEqual(last["app"]["release"], "20260102-030400-0000")

    def test_failure(self) -> None:
        """What went wrong after the first step is the last line, with the command's words."""
        self.controller.failure = ReleaseError("npm failed", "see above", ("ENOENT",))
        *_, last = lines(self.ask("POST", f"{APP}/deploy", json={}))
        wanted = {"code": "release", "message": "npm failed", "hint": "see above"}
        self.assertEqual(last, {"error": {**wanted, "log": ["ENOENT"]}})

    def test_refused(self) -> None:
        """What is refused before the first step has a status."""
        for path, body, status in (
            ("/api/v1/apps/none/deploy", {}, 404),
            (f"{APP}/deploy", {"source": 1}, 400),
            (f"{APP}/deploy", {"build": "yes"}, 400),
            (f"{APP}/deploy", {"src": "/x"}, 400),
            (f"{APP}/rollback", {"release": 1}, 400),
            (f"{APP}/rollback", {"to": "x"}, 400),
            (f"{APP}/rollback", {}, 404),
        ):
            self.assertEqual(self.ask("POST", path, json=body).status, status, (path, body))

    def test_service_stops(self) -> None:
        """The answer ends without a result, later deployments are refused."""
        self.controller.held = []
        sent = self.send("POST", f"{APP}/deploy", json={})
        self.treq.flush()
        self.api.stop()
        self.assertEqual([line["step"] for line in lines(self.finish(sent))][-1], "installing")
        self.assertEqual(self.ask("POST", f"{APP}/deploy", json={}).status, 503)

    def test_releases(self) -> None:
        """Releases are listed newest first, and a rollback goes to the one before."""
        for _ in range(2):
            self.ask("POST", f"{APP}/deploy", json={})
        first = self.ask("GET", f"{APP}/releases").value["releases"][1]
        answer = self.ask("POST", f"{APP}/rollback", json={})
        self.assertEqual(answer.value["release"], first["name"])
        listed = self.ask("GET", f"{APP}/releases").value["releases"]
        self.assertEqual([one["current"] for one in listed], [False, True])

    def test_purge(self) -> None:
        """Releases go with the app only if that is said."""
        self.assertEqual(self.ask("DELETE", f"{APP}?purge=yes").status, 400)
        self.assertEqual(self.ask("DELETE", f"{APP}?lines=1").status, 400)
        self.assertEqual(self.ask("DELETE", f"{APP}?purge=true").status, 204)
        self.assertEqual(self.controller.calls, [("delete", "shop.example", "purge")])
