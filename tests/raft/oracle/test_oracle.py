"""The same events through etcd's RawNode and ours: who leads, commits and logs must agree.

Needs Debian's golang-go and golang-etcd-server-dev; skipped by name without.
``OOD_RAFT_ORACLE=500`` plays more runs.  Only what both implementations must do alike
is compared: no clock decides an election (the time-outs are random in etcd), and
after losses both may first be at different points of their retries, so states are
compared when everything was healed and the leader has sent heartbeats.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from random import Random

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ood.raft.core.errors import BusyError, NotLeaderError
from ood.raft.sim.script import Script

GOPATH = Path("/usr/share/gocode")

RUNS = int(os.environ.get("OOD_RAFT_ORACLE", "40"))

STEPS = 60


class Etcd:
    """The oracle as a process, one for each run."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, *words: object) -> list[str]:
        """Carry out one line and return what each node looks like."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip().split("; ")

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class Pair:
    """Both implementations, moved alike."""

    def __init__(self, etcd: Etcd, random: Random, size: int) -> None:
        self._etcd, self._random = etcd, random
        self.names = "abcde"[:size]
        self.done: list[str] = []
        self._ours = Script()
        self._ours.do(["nodes", *self.names])
        self._theirs = etcd.do("nodes", size)

    def do(self, verb: str, *names: str) -> None:
        """Do the same on both sides."""
        self.done.append(" ".join((verb, *names)))
        self._theirs = self._etcd.do(verb, *(self.names.index(name) + 1 for name in names))
        with contextlib.suppress(BusyError, NotLeaderError):  # as it is there
            getattr(self, "do_" + verb, self._plain)(verb, *names)

    def _plain(self, verb: str, *names: str) -> None:
        self._ours.do([verb, *names])

    def do_cut(self, verb: str, one: str, other: str) -> None:
        """Cut one direction of a link."""
        self._ours.do([verb, f"{one}>{other}"])

    def do_tick(self, verb: str, name: str) -> None:
        """Let one tick pass."""
        self._ours.do([verb, name, "1"])

    def do_propose(self, verb: str, name: str) -> None:
        """Propose on a leader."""
        self._ours.do([verb, name, "x"])

    def do_restart(self, _verb: str, name: str) -> None:
        """Crash, and start from the disk."""
        self._ours.do(["crash", name])
        self._ours.do(["start", name])

    def leader(self) -> str | None:
        """The leader of the highest term, on our side."""
        leader = self._ours.leader()
        return leader.id if leader else None

    def pictures(self) -> tuple[list[str], list[str]]:
        """What each node looks like here and there, from the first index both still have.

        Without a leader, restarted nodes may know less of what is committed: etcd saves
        every commit index, ours goes to the disk with the next entries.
        """
        ours, theirs = [], []
        led = self.leader() is not None
        for name, other in zip(self.names, self._theirs, strict=True):
            core = self._ours.members[name].core
            log = core.log
            leading, term, vote, commit, first, terms = (*other.split(" "), "")[:6]
            low = max(log.first_index, int(first))
            kept = [int(t) for t in terms.split(",") if t][low - int(first) :]
            mine = [entry.term for entry in log.slice(low, log.last_index)]
            number = self.names.index(core.vote) + 1 if core.vote else 0
            ours.append(f"{core.leading} {core.term} {number} {led and log.committed} {mine}")
            theirs.append(f"{leading == 'true'} {term} {vote} {led and int(commit)} {kept}")
        return ours, theirs

    def heal(self) -> None:
        """Make all links good, and let the leader's heartbeats repair what was lost."""
        self.do("heal")
        for _ in range(4):
            self.do("settle")
            leader = self.leader()
            if leader:
                self.do("tick", leader)
        self.do("settle")

    def _campaign(self, name: str, leader: str | None) -> None:
        """Let a node campaign with nothing else under way: who is first would decide."""
        self.do("settle")
        for voter in self.names:  # a restart forgets the leader, and with it the lease
            if voter != leader and self._random.random() < 0.8:
                self.do("restart", voter)
        self.do("settle")
        self.do("campaign", name)
        self.do("settle")

    def wander(self) -> bool:
        """Take one random step; tell whether everything is healed after it."""
        random = self._random
        leader = self.leader()
        kind = random.choice(("propose",) * 4 + ("cut", "campaign", "restart", "snapshot", "shift"))
        name = random.choice(self.names)
        if kind == "propose" and leader:
            self.do("propose", leader)
        elif kind == "cut":
            other = random.choice([n for n in self.names if n != name])
            self.do("cut", name, other)
            if random.random() < 0.6:
                self.do("cut", other, name)
        elif kind == "campaign" and name != leader:
            self._campaign(name, leader)
        elif kind in ("restart", "snapshot"):
            self.do(kind, name)
        if random.random() < 0.8:
            self.do("settle")
        if random.random() < 0.8:
            return False
        self.heal()
        return True


class OracleTests(SynchronousTestCase):
    """Differential runs."""

    def setUp(self) -> None:
        if shutil.which("go") is None or not (GOPATH / "src/go.etcd.io/etcd/raft").exists():
            raise SkipTest("golang-go and golang-etcd-server-dev are not installed")
        directory = Path(tempfile.mkdtemp(prefix="ood-raft-oracle-"))
        self.addCleanup(shutil.rmtree, directory)
        shutil.copy(Path(__file__).parent / "main.go", directory)
        environment = {
            **os.environ,
            "GO111MODULE": "off",
            "GOPATH": str(GOPATH),
            "GOCACHE": str(directory / "cache"),
            "GOFLAGS": "",
        }
        self.program = directory / "oracle"
        subprocess.run(
            ["go", "build", "-o", str(self.program), "main.go"],
            cwd=directory,
            env=environment,
            check=True,
        )

    def test_agrees_with_etcd(self) -> None:
        """Random events: whenever all is healed, every node is alike on both sides."""
        led = 0
        for seed in range(RUNS):
            random = Random(seed)
            etcd = Etcd(self.program)
            self.addCleanup(etcd.close)
            pair = Pair(etcd, random, random.choice((3, 3, 5)))
            for _ in range(STEPS):
                if pair.wander():
                    led += pair.leader() is not None
                    ours, theirs = pair.pictures()
                    self.assertEqual(ours, theirs, f"seed {seed}: {pair.done}")
        self.assertGreater(led, RUNS)
