"""The two sides that are compared: an app under ood, and the same one under PM2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.ood import RunningOod, wait_until
from tests.support.ports import free_ports

APP = "site"
COMMAND_SECONDS = 120


class OodSide:
    """ood, with or without a spare worker."""

    def __init__(self, script: str, workers: int, *, spare: bool = False) -> None:
        self.name = "ood with a spare" if spare else "ood"
        self._workers, self._spare = workers, spare
        self._service = RunningOod()
        self._site = self._service.directory / "site"
        self._site.mkdir()
        (self._site / "server.js").write_text(script)
        self.port = self._service.http_port

    def start(self) -> None:
        """Start service and app."""
        self._service.start()
        self._service.add(APP, self._site, "--instances", str(self._workers))
        if self._spare:
            self._service.ood("config", "-a", APP, "-s", "spare", "1")
        self.settle()

    def _status(self) -> list[dict[str, Any]]:
        workers: list[dict[str, Any]] = self._service.json("status", APP)["workers"]
        return workers

    def pids(self) -> list[int]:
        """Return the workers that get requests."""
        return [one["pid"] for one in self._status()[: self._workers]]

    def settle(self) -> None:
        """Wait until every worker, and the spare, is online."""
        count = self._workers + self._spare
        wait_until(
            lambda: [one["state"] for one in self._status()] == ["online"] * count, "settled", 60
        )

    def reload(self) -> None:
        """Replace every worker."""
        self._service.ood("restart", APP)

    def stop(self) -> None:
        """End it all."""
        self._service.close()


class Pm2Side:
    """PM2 in cluster mode, with a home of its own.

    :param program: the ``pm2`` command.
    """

    name = "PM2"

    def __init__(self, script: str, workers: int, program: str) -> None:
        self._workers = workers
        self._program = program
        self._directory = Path(tempfile.mkdtemp(prefix="pm2-bench-"))
        (self.port,) = free_ports(1)
        self._environment = {
            **os.environ,
            "PM2_HOME": str(self._directory / "home"),
            "NODE_ENV": "production",
            "PORT": str(self.port),
        }
        (self._directory / "server.js").write_text(script)
        app = {
            "name": APP,
            "script": "server.js",
            "exec_mode": "cluster",
            "instances": workers,
            "kill_timeout": 30_000,
        }
        (self._directory / "eco.json").write_text(json.dumps({"apps": [app]}))

    def _pm2(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._program, *arguments],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=True,
        )
        return done.stdout

    def start(self) -> None:
        """Start PM2 and the app."""
        self._pm2("start", "eco.json")
        self.settle()

    def _workers_now(self) -> list[dict[str, Any]]:
        out = self._pm2("jlist")
        found: list[dict[str, Any]] = json.loads(out[out.index("[{") :])
        return found

    def pids(self) -> list[int]:
        """Return the workers."""
        return [one["pid"] for one in self._workers_now()]

    def settle(self) -> None:
        """Wait until every worker is online."""
        online = ["online"] * self._workers
        wait_until(
            lambda: [one["pm2_env"]["status"] for one in self._workers_now()] == online,
            "settled",
            60,
        )

    def reload(self) -> None:
        """Replace every worker."""
        self._pm2("reload", APP)

    def stop(self) -> None:
        """End it all."""
        try:
            self._pm2("kill")
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)


Side = OodSide | Pm2Side


def pm2_program(given: str | None, directory: Path) -> str:
    """Return the ``pm2`` command, installed into ``directory`` if none was given."""
    if given:
        return given
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(directory), "pm2"]
    subprocess.run(command, check=True, capture_output=True)
    return str(directory / "node_modules/.bin/pm2")


def pm2_version(program: str) -> str:
    """Return PM2's version; asked for it, PM2 would start its daemon in the user's home."""
    package = Path(program).resolve().parents[1] / "package.json"
    version: str = json.loads(package.read_text())["version"]
    return version
