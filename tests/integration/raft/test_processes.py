"""Clusters of processes on loopback, with everything that happens to processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import msgspec
from twisted.internet import reactor
from twisted.trial.unittest import SkipTest, TestCase

from ood.raft.client import RaftClient
from ood.raft.handshake import greet
from ood.raft.tcp import TcpTransport
from ood.raft.tls import TlsOptions
from ood.raft.wire import LEADER, PROTOCOL_VERSION, Hello, decode
from tests.integration.raft.clients import Recorder, clock, sleep
from tests.integration.raft.cluster import CLUSTER, Processes
from tests.raft.certificates import make_certificates

# A change of leader and everything after it on a machine that is busy elsewhere.
RECOVERY_SECONDS = 60.0


async def leader_of(addresses: dict[str, str], seconds: float = RECOVERY_SECONDS) -> str:
    """Return the name of the member that leads."""
    transport = TcpTransport(reactor, plaintext=True)
    end = clock().seconds() + seconds
    try:
        while clock().seconds() < end:
            for name, address in addresses.items():
                try:
                    connection = await transport.connect(address)
                    await greet(connection, Hello(PROTOCOL_VERSION, CLUSTER, "looker"), clock())
                    own, _ = decode(await connection.invoke(LEADER, b"").addTimeout(1, clock()))
                    await connection.close()
                except Exception:
                    continue
                if own:
                    return name
            await sleep(0.05)
    finally:
        await transport.stop()
    raise AssertionError("nobody leads")


class ProcessCase(TestCase):
    timeout = 300

    def cluster(self, count: int, **options: object) -> Processes:
        processes = Processes(count, **options)  # type: ignore[arg-type]
        self.addCleanup(processes.stop)
        return processes

    async def working(self, processes: Processes) -> Recorder:
        """Return clients that have had their first answers."""
        recorder = Recorder(list(processes.addresses.values()))
        self.addCleanup(recorder.stop)
        recorder.start()
        await recorder.until_more(20, RECOVERY_SECONDS)
        return recorder

    async def judge(self, recorder: Recorder) -> None:
        """Stop the clients; everything they saw has to be explained."""
        await recorder.stop()
        self.assertEqual(recorder.problems(), [])


class LoopbackTests(ProcessCase):
    """What happens to processes on one machine."""

    async def test_killed_leaders(self) -> None:
        """Three members: each leader in turn is killed under load and started again."""
        processes = self.cluster(3)
        processes.start()
        recorder = await self.working(processes)
        for _ in range(3):
            leader = await leader_of(processes.addresses)
            processes.kill(leader)
            await recorder.until_more(30, RECOVERY_SECONDS)
            processes.start(leader)
            await recorder.until_more(30, RECOVERY_SECONDS)
        await self.judge(recorder)

    async def test_five_lose_two(self) -> None:
        """Five members go on with three; then all are killed and nothing is lost."""
        processes = self.cluster(5)
        processes.start()
        recorder = await self.working(processes)
        leader = await leader_of(processes.addresses)
        other = next(name for name in processes.names if name != leader)
        processes.kill(leader)
        processes.kill(other)
        await recorder.until_more(30, RECOVERY_SECONDS)
        for name in processes.names:
            if name not in (leader, other):
                processes.kill(name)
        processes.start()
        await recorder.until_more(30, RECOVERY_SECONDS)
        await self.judge(recorder)

    async def test_paused_leader(self) -> None:
        """A leader that is stopped for longer than a time-out does not serve old values."""
        processes = self.cluster(3)
        processes.start()
        recorder = await self.working(processes)
        for _ in range(2):
            leader = await leader_of(processes.addresses)
            processes.signal(leader, signal.SIGSTOP)
            await recorder.until_more(30, RECOVERY_SECONDS)
            processes.signal(leader, signal.SIGCONT)
            await recorder.until_more(30, RECOVERY_SECONDS)
        await self.judge(recorder)

    async def test_full_disk(self) -> None:
        """A member whose disk is full stops and says why; the others go on."""
        if os.geteuid() != 0 or shutil.which("mount") is None:
            raise SkipTest("a small file system can only be mounted by root")
        processes = self.cluster(3)
        small = processes.data["a"]
        small.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=17m", "tmpfs", str(small)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            raise SkipTest("tmpfs can't be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(small)], check=False)
        processes.start()
        recorder = await self.working(processes)
        (small / "ballast").write_bytes(bytes(1 << 19))
        client = RaftClient(
            TcpTransport(reactor, plaintext=True),
            list(processes.addresses.values()),
            CLUSTER,
            clock(),
        )
        self.addCleanup(client.close)
        await self.fill(client, processes)
        self.assertIn("a stopped: writing to", processes.log("a"))
        await recorder.until_more(30, RECOVERY_SECONDS)
        await self.judge(recorder)

    async def fill(self, client: RaftClient, processes: Processes) -> None:
        """Write more than one segment, until the member has ended."""
        body = msgspec.msgpack.encode(["put", "big", "x" * (1 << 20)])
        for _ in range(60):
            if processes.ended("a") is not None:
                return
            await client.command(body)
        raise AssertionError("the full disk was not noticed")

    async def test_damaged_log(self) -> None:
        """A member whose acknowledged log was damaged refuses to start and says where."""
        processes = self.cluster(3)
        processes.start()
        recorder = await self.working(processes)
        processes.kill("b")
        log = next(processes.data["b"].glob("*.wal"))
        data = bytearray(log.read_bytes())
        data[300] ^= 1
        log.write_bytes(data)
        processes.start("b")
        for _ in range(int(RECOVERY_SECONDS / 0.05)):
            if processes.ended("b") is not None:
                break
            await sleep(0.05)
        self.assertIn(f"{log.name} at byte", processes.log("b"))
        self.assertTrue((processes.data["b"] / "DAMAGED").exists())
        await recorder.until_more(20, RECOVERY_SECONDS)
        await self.judge(recorder)


class TlsTests(ProcessCase):
    """Members and clients with certificates."""

    async def test_mutual_tls(self) -> None:
        """With certificates the cluster works; without one nobody gets in."""
        path = Path(self.mktemp())
        files = make_certificates(str(path), ["a", "b", "c", "client"])
        processes = self.cluster(3)
        for name in processes.names:
            processes.options = ["--tls", *files[name]]
            processes.start(name)
        transport = TcpTransport(reactor, TlsOptions(*files["client"]))
        client = RaftClient(
            transport, list(processes.addresses.values()), CLUSTER, clock(), id="client"
        )
        self.addCleanup(client.close)
        body = msgspec.msgpack.encode(["put", "key", "value"])
        self.assertIsNone(await client.command(body))
        self.assertEqual(await client.query(b"key"), "value")
        plain = TcpTransport(reactor, plaintext=True)
        self.addCleanup(plain.stop)
        connection = await plain.connect(processes.addresses["a"])
        with self.assertRaises(Exception):  # noqa: B017  whatever the transport says
            await connection.invoke("hello", b"").addTimeout(3, clock())
