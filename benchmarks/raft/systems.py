"""The systems that are compared: each three members on loopback."""

from __future__ import annotations

import json
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from random import Random
from typing import IO

import load as ood_load
import msgspec

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
VALUE_BYTES = 97  # with its key, a command of 100 bytes
LEADER_SECONDS = 20.0


class System(ABC):
    """Three members of one kind."""

    name = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        first = Random().randrange(12000, 30000)
        self.ports = {member: first + 10 * place for place, member in enumerate("abc")}

    def spawn(self, member: str, command: list[str], **options: IO[bytes] | int) -> None:
        log = (self.directory / f"{member}.log").open("wb")
        options = {"stdout": log, **options}
        self.processes[member] = subprocess.Popen(command, stderr=log, **options)  # type: ignore[call-overload]

    @abstractmethod
    def start(self) -> None:
        """Start three members; return when one leads."""

    @abstractmethod
    def leader(self) -> str:
        """Return who leads."""

    @abstractmethod
    def load(self, outstanding: int, seconds: float) -> list[float]:
        """Return the latency of every committed write."""

    @abstractmethod
    def write_once(self, member: str) -> bool:
        """Try one write through a member; return whether it was committed."""

    def failover(self) -> float:
        """Kill the leader; return how long it is until a write is committed."""
        leader = self.leader()
        others = [member for member in self.processes if member != leader]
        began = time.monotonic()
        self.processes[leader].send_signal(signal.SIGKILL)
        while not any(self.write_once(member) for member in others):
            if time.monotonic() - began > LEADER_SECONDS:
                raise RuntimeError(f"{self.name}: nobody took over")
            time.sleep(0.005)
        return time.monotonic() - began

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Ood(System):
    """``examples/raft-kv`` of this library."""

    name = "ood.raft"

    def addresses(self) -> dict[str, str]:
        return {member: f"127.0.0.1:{port}" for member, port in self.ports.items()}

    def start(self) -> None:
        addresses = self.addresses()
        for member, address in addresses.items():
            command = [sys.executable, str(ROOT / "examples/raft-kv/server.py"), "--id", member]
            command += ["--listen", address, "--plaintext"]
            command += ["--data", str(self.directory / member)]
            for other in addresses:
                if other != member:
                    command += ["--peer", f"{other}={addresses[other]}"]
            self.spawn(member, command)
        self.leader()

    def leader(self) -> str:
        address = ood_load.leader_of(list(self.addresses().values()), "kv")
        return next(member for member, its in self.addresses().items() if its == address)

    def load(self, outstanding: int, seconds: float) -> list[float]:
        return ood_load.load(self.addresses()[self.leader()], "kv", outstanding, seconds)

    def write_once(self, member: str) -> bool:
        try:
            with ood_load.connect(self.addresses()[member], "kv") as connection:
                body = msgspec.msgpack.encode(["put", "key", "value"])
                ood_load.call(connection, "command", [body, None, 0])
        except (OSError, RuntimeError):
            return False
        return True


class Etcd(System):
    """Debian's etcd over gRPC; h2load is the client, one connection for each write."""

    name = "etcd"

    def start(self) -> None:
        cluster = ",".join(f"{m}=http://127.0.0.1:{p + 1}" for m, p in self.ports.items())
        for member, port in self.ports.items():
            client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
            options = {
                "name": member,
                "data-dir": str(self.directory / member),
                "listen-client-urls": client,
                "advertise-client-urls": client,
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "initial-cluster": cluster,
                "log-level": "error",
            }
            flags = [text for key, value in options.items() for text in (f"--{key}", value)]
            self.spawn(member, ["etcd", *flags])
        key, value = b"key", b"x" * VALUE_BYTES
        body = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value
        (self.directory / "put").write_bytes(b"\0" + struct.pack(">I", len(body)) + body)
        self.leader()

    def post(self, member: str, path: str, body: object) -> dict[str, object]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[member]}{path}", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=1) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    def leader(self) -> str:
        end = time.monotonic() + LEADER_SECONDS
        while time.monotonic() < end:
            for member in self.ports:
                try:
                    status = self.post(member, "/v3/maintenance/status", {})
                except OSError:
                    continue
                if status.get("leader") == status["header"]["member_id"]:  # type: ignore[index]
                    return member
            time.sleep(0.02)
        raise RuntimeError("etcd has no leader")

    def load(self, outstanding: int, seconds: float) -> list[float]:
        log = self.directory / "h2load.log"
        log.unlink(missing_ok=True)
        url = f"http://127.0.0.1:{self.ports[self.leader()]}/etcdserverpb.KV/Put"
        command = [
            "h2load",
            "-c",
            str(outstanding),
            "-m",
            "1",
            "-t",
            "1",
            "-D",
            f"{seconds * 1000:.0f}ms",
        ]
        command += ["-d", str(self.directory / "put"), f"--log-file={log}"]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", url]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows = [line.split() for line in log.read_text().splitlines()]
        return [int(row[2]) / 1e6 for row in rows if row[1] == "200"]

    def write_once(self, member: str) -> bool:
        try:
            self.post(member, "/v3/kv/put", {"key": "a2V5", "value": "eA=="})
        except OSError:
            return False
        return True


class PySyncObj(System):
    """PySyncObj with a journal, which it never syncs; the client is in the leader's process."""

    name = "PySyncObj"

    def start(self) -> None:
        for member in self.ports:
            others = [f"127.0.0.1:{p}" for m, p in self.ports.items() if m != member]
            command = [sys.executable, str(HERE / "pysyncobj_member.py")]
            command += [str(self.directory / f"{member}.journal")]
            command += [f"127.0.0.1:{self.ports[member]}", *others]
            self.spawn(member, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.leader()

    def ask(self, member: str, *words: object) -> object:
        process = self.processes[member]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((json.dumps(words) + "\n").encode())
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def leader(self) -> str:
        end = time.monotonic() + LEADER_SECONDS
        while time.monotonic() < end:
            for member, process in self.processes.items():
                if process.poll() is None and self.ask(member, "leads"):
                    return member
            time.sleep(0.02)
        raise RuntimeError("PySyncObj has no leader")

    def load(self, outstanding: int, seconds: float) -> list[float]:
        return list(self.ask(self.leader(), "load", outstanding, seconds))  # type: ignore[call-overload]

    def write_once(self, member: str) -> bool:
        return bool(self.ask(member, "write"))


def summary(latencies: list[float], seconds: float) -> dict[str, float]:
    """Return writes per second and latencies in milliseconds."""
    ordered = sorted(latencies) or [float("nan")]
    return {
        "rate": len(latencies) / seconds,
        "p50": ordered[len(ordered) // 2] * 1e3,
        "p99": ordered[int(len(ordered) * 0.99)] * 1e3,
    }


def median(summaries: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {key: statistics.median(each[key] for each in summaries) for key in summaries[0]}
