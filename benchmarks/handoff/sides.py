"""The two sides that are compared: ood with two workers, nginx with two node processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil

from tests.support.http import get
from tests.support.ood import RunningOod, wait_until
from tests.support.ports import free_ports

HERE = Path(__file__).parent
WORKERS = 2
STOP_SECONDS = 10


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Return the processor time that ``processes`` have used so far."""
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


def answers(port: int) -> bool:
    """Tell whether a server at ``port`` answers 200."""
    try:
        return get(port, f"127.0.0.1:{port}").status == 200
    except OSError:
        return False


class OodSide:
    """ood with one app of two workers."""

    name = "ood"

    def __init__(self) -> None:
        self._service = RunningOod()
        self._site = Path(tempfile.mkdtemp(prefix="ood-bench-"))
        self.port = self._service.http_port

    def start(self) -> None:
        """Start the service and the app."""
        self._site.chmod(0o755)
        shutil.copy(HERE / "server.js", self._site)
        self._service.start()
        self._service.add("bench", self._site, "--instances", str(WORKERS))
        wait_until(lambda: answers(self.port), "ood answers")

    def processes(self) -> list[psutil.Process]:
        """Return everything that works for this side."""
        return [psutil.Process(self._service.pid), *self._service.processes()]

    def stop(self) -> None:
        """End it all."""
        try:
            self._service.close()
        finally:
            shutil.rmtree(self._site, ignore_errors=True)


class NginxSide:
    """nginx in front of two node processes."""

    name = "nginx"

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="ood-bench-"))
        self._started: list[subprocess.Popen[bytes]] = []
        self.port, *self._node_ports = free_ports(1 + WORKERS)

    def start(self) -> None:
        """Start the node processes, then nginx."""
        nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        node = shutil.which("node")
        assert nginx and node, "nginx and node have to be installed"
        for port in self._node_ports:
            environment = {"NODE_ENV": "production", "PORT": str(port), "HOST": "127.0.0.1"}
            self._run([node, str(HERE / "server.js")], {**os.environ, **environment})
            wait_until(lambda port=port: answers(port), "node answers")
        servers = " ".join(f"server 127.0.0.1:{port};" for port in self._node_ports)
        configuration = (HERE / "nginx.conf").read_text()
        path = self._directory / "nginx.conf"
        path.write_text(
            configuration.format(directory=self._directory, port=self.port, servers=servers)
        )
        self._run([nginx, "-p", str(self._directory), "-c", str(path), "-g", "daemon off;"])
        wait_until(lambda: answers(self.port), "nginx answers")

    def _run(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self._started.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))

    def processes(self) -> list[psutil.Process]:
        """Return everything that works for this side."""
        roots = [psutil.Process(process.pid) for process in self._started]
        return [*roots, *(child for root in roots for child in root.children(recursive=True))]

    def stop(self) -> None:
        """End it all."""
        for process in reversed(self._started):
            process.terminate()
        for process in self._started:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self._directory, ignore_errors=True)
