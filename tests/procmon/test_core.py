"""The pure parts of the process monitor."""

from __future__ import annotations

import json
import shlex

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ood.procmon.core import cluster, environment, join, plan, restart
from ood.procmon.core.lines import Lines, TooLongError


class LinesTests(SynchronousTestCase):
    """Cutting a stream into lines."""

    @given(st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line)), st.data())
    def test_any_cut(self, lines: list[bytes], data: st.DataObject) -> None:
        """However the stream is cut, the same lines come out."""
        stream = b"".join(line + b"\n" for line in lines)
        found: list[bytes] = []
        splitter = Lines(100)
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            found += splitter.feed(stream[:size])
            stream = stream[size:]
        self.assertEqual(found, lines)
        self.assertFalse(splitter.partial)

    def test_too_long(self) -> None:
        """A line without an end is refused when it passes the limit, not when memory ends."""
        splitter = Lines(10)
        splitter.feed(b"x" * 10)
        self.assertRaises(TooLongError, splitter.feed, b"x")

    @given(st.binary(max_size=100))
    def test_pieces_lose_nothing(self, data: bytes) -> None:
        """Cutting long lines loses and invents no byte, and no piece is too long."""
        splitter = Lines(7)
        pieces = splitter.feed_pieces(data)
        self.assertTrue(all(len(piece) <= 7 for piece in pieces))
        rest = splitter.rest()
        self.assertLess(len(rest), 7 + 1)
        self.assertEqual((b"".join(pieces) + rest), data.replace(b"\n", b""))


class JoinTests(SynchronousTestCase):
    """The messages of the join protocol."""

    def test_kinds(self) -> None:
        """Each kind of message is read with its values."""
        said = {
            b'{"ood":"hello","v":1,"token":"t","pid":5,"node":"v20"}': join.Hello(1, "t", 5, "v20"),
            b'{"ood":"listening","id":63,"port":80,"host":null,"tls":true,"http":false}': (
                join.Listening(63, 80, None, tls=True, http=False)
            ),
            b'{"ood":"close","id":0}': join.Close(0),
            b'{"ood":"ack","n":7}': join.Ack(7),
            b'{"ood":"nack","n":7}': join.Nack(7),
            b'{"ood":"nack","n":7,"full":true}': join.Nack(7, full=True),
            b'{"ood":"back"}': join.Back(),
            b'{"ood":"drained","left":2}': join.Drained(2),
            b'{"ood":"stats","requests":3,"inFlight":1,"lag":0.5}': (
                join.Stats(requests=3, in_flight=1, lag=0.5)
            ),
        }
        for line, message in said.items():
            self.assertEqual(join.decode(line), message)

    def test_unknown_kind(self) -> None:
        """A kind of a later version is passed over."""
        self.assertIsNone(join.decode(b'{"ood":"poem","text":"..."}'))

    def test_values_out_of_range(self) -> None:
        """Values that could do harm are refused."""
        for line in (
            b'{"ood":"listening","id":64,"port":80}',
            b'{"ood":"listening","id":-1,"port":80}',
            b'{"ood":"listening","id":0,"port":65536}',
            b'{"ood":"listening","id":true,"port":1}',
            b'{"ood":"ack","n":-1}',
            b'{"ood":"ack","n":"1"}',
            b'{"ood":"ack"}',
            b'["ood"]',
            b"[" * 60_000,
            b"\xff",
            b"",
        ):
            self.assertRaises(join.InvalidMessageError, join.decode, line)

    @given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
    def test_anything(self, line: bytes) -> None:
        """Whatever comes, it is a message, nothing, or refused; nothing else is raised."""
        try:
            join.decode(line)
        except join.InvalidMessageError:
            return

    def test_hosts(self) -> None:
        """The guard reads the keys it knows from the protocol."""
        line = join.encode_hosts(join.Hosts(("a.b",), ("c.d",), default=True, port=3001))
        self.assertTrue(line.endswith(b"\n"))
        expected = {"ood": "hosts", "own": ["a.b"], "foreign": ["c.d"], "default": True}
        self.assertEqual(json.loads(line), {**expected, "port": 3001})

    def test_too_many_hosts(self) -> None:
        """If the names don't fit, the default gives way: never a message that is too long."""
        foreign = tuple(f"host{number}.example.com" for number in range(10_000))
        line = join.encode_hosts(join.Hosts(("a.b",), foreign, default=True, port=3001))
        self.assertLess(len(line), join.MESSAGE_BYTES_MAX)
        self.assertFalse(json.loads(line)["default"])

    def test_connection(self) -> None:
        """The two bytes of a hand-off name the server."""
        self.assertEqual(join.connection(0), b"C@")
        self.assertEqual(join.connection(63), b"C\x7f")


class ClusterTests(SynchronousTestCase):
    """The messages of Node's own channel."""

    QUERY = (
        b'{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,'
        b'"port":3000,"addressType":6,"fd":null,"flags":0,"backlog":511,"seq":1}'
    )

    def query(self) -> cluster.Query:
        message = cluster.decode(self.QUERY)
        assert isinstance(message, cluster.Query)
        return message

    def test_listen(self) -> None:
        """The answer to listen() says the port that was asked for: else it is EADDRINUSE."""
        answer = json.loads(cluster.listen_reply(self.query(), 9, None))
        self.assertEqual((answer["ack"], answer["errno"], answer["seq"]), (1, 0, 9))
        self.assertEqual(answer["sockname"], {"address": "::", "family": "IPv6", "port": 3000})

    def test_error(self) -> None:
        """Errors are negative on the channel."""
        self.assertEqual(json.loads(cluster.error_reply(self.query(), 1, 98))["errno"], -98)

    def test_user_messages(self) -> None:
        """What the app says itself is told from the protocol."""
        self.assertEqual(cluster.decode(b'"ready"'), cluster.User("ready"))
        self.assertEqual(cluster.decode(b'{"cmd":"mine"}'), cluster.User({"cmd": "mine"}))
        self.assertEqual(
            [cluster.Received(arrived=True), cluster.Received(arrived=False)],
            [cluster.decode(b'{"cmd":"NODE_HANDLE_%bACK"}' % one) for one in (b"", b"N")],
        )

    @given(
        st.dictionaries(
            st.sampled_from(["act", "seq", "port", "ack", "key", "address"]),
            st.text() | st.integers() | st.none(),
        )
    )
    def test_strange_values(self, values: dict[str, object]) -> None:
        """Values of any type make no trouble."""
        for act in ("queryServer", "listening", "close", "exitedAfterDisconnect"):
            plain = {"act": act, **values, "cmd": "NODE_CLUSTER"}
            message = cluster.decode(json.dumps(plain).encode())
            if isinstance(message, cluster.Query):
                self.assertGreaterEqual(message.port, -1)
                json.loads(cluster.listen_reply(message, 1, message.data))


class RestartTests(SynchronousTestCase):
    """When a worker that died is started again."""

    LIMITS = restart.Limits(min_uptime=1, max_restarts=4, first_delay=0.1)

    def die(self, history: restart.History, uptime: float, **more: bool) -> restart.Decision:
        death = restart.Exit(started=100, was_online=more.get("was_online", True))
        return restart.decide(history, death, 100 + uptime, self.LIMITS, 0.5)

    def test_ran_long(self) -> None:
        """Who ran longer than minUptime is replaced at once, whatever was before."""
        decision = self.die(restart.History(young=3), 1.0)
        self.assertEqual((decision.delay, decision.history), (0, restart.History()))

    def test_never_answered(self) -> None:
        """Who never answered died young, however long it took."""
        decision = self.die(restart.History(), 500, was_online=False)
        self.assertEqual(decision.history.young, 1)

    def test_series(self) -> None:
        """The pause doubles; then the state is errored, and it is tried on at the cap."""
        history = restart.History()
        seen = []
        for _ in range(6):
            decision = self.die(history, 0.5)
            history = decision.history
            seen.append((decision.state, decision.delay))
        waiting = [("waiting-restart", delay) for delay in (0.1, 0.2, 0.4)]
        self.assertEqual(seen, [*waiting, *[("errored", 15.0)] * 3])

    def test_left_stopped(self) -> None:
        """Without autorestart it stays down."""
        death = restart.Exit(0, was_online=True)
        limits = restart.Limits(autorestart=False)
        decision = restart.decide(restart.History(), death, 99, limits, 0.5)
        self.assertEqual((decision.delay, decision.state), (None, "stopped"))

    @given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 604_800))
    def test_bounds(self, young: int, chance: float, first: float) -> None:
        """The pause after a young death is never nothing and never above the cap."""
        limits = restart.Limits(first_delay=first, max_restarts=20_000)
        death = restart.Exit(0, was_online=False)
        decision = restart.decide(restart.History(young), death, 0, limits, chance)
        assert decision.delay is not None
        self.assertTrue(0 < decision.delay <= restart.DELAY_MAX_SECONDS)


class PlanTests(SynchronousTestCase):
    """From what is wanted to what to do."""

    @given(st.integers(0, 20), st.sets(st.integers(0, 30)))
    def test_leads_there(self, wanted: int, present: set[int]) -> None:
        """After its steps, what is wanted is there; a second plan has none."""
        after = set(present)
        for step in plan.plan(wanted, present):
            if isinstance(step, plan.Launch):
                self.assertNotIn(step.instance, after)
                after.add(step.instance)
            else:
                after.remove(step.instance)
        self.assertEqual(after, set(range(wanted)))
        self.assertEqual(plan.plan(wanted, after), ())

    def test_newest_first(self) -> None:
        """Scaling down takes the highest numbers first, and never touches number 0 before."""
        steps = plan.plan(1, {0, 1, 2})
        self.assertEqual(steps, (plan.Retire(2), plan.Retire(1)))


class EnvironmentTests(SynchronousTestCase):
    """What a worker sees of its surroundings."""

    def wish(self, **more: object) -> environment.Wish:
        defaults: dict[str, object] = {
            "app": "a",
            "instance": 2,
            "port": 3001,
            "account": environment.Account("web", "/home/web"),
            "inherited": {"PATH": "/bin", "SECRET": "1", "LC_ALL": "C", "https_proxy": "p"},
            "own": {},
        }
        return environment.Wish(**{**defaults, **more})  # type: ignore[arg-type]

    def test_little_is_inherited(self) -> None:
        """Only what is named passes from the service to a worker."""
        env = environment.build(self.wish())
        self.assertNotIn("SECRET", env)
        self.assertEqual((env["LC_ALL"], env["https_proxy"], env["PATH"]), ("C", "p", "/bin"))
        self.assertEqual((env["HOME"], env["USER"], env["LOGNAME"]), ("/home/web", "web", "web"))

    def test_own_values(self) -> None:
        """The app's values win over defaults, not over what ood has to say."""
        env = environment.build(self.wish(own={"NODE_ENV": "test", "PORT": "9", "HOME": "/x"}))
        self.assertEqual((env["NODE_ENV"], env["PORT"], env["HOME"]), ("test", "3001", "/x"))
        self.assertEqual(env["NODE_APP_INSTANCE"], "2")

    def test_guard(self) -> None:
        """The guard comes after the app's own options, in quotes that Node understands."""
        entry = environment.Join('/o d/"g".cjs', "/j", "/b", "token")
        env = environment.build(self.wish(own={"NODE_OPTIONS": "--enable-source-maps"}, join=entry))
        words = shlex.split(env["NODE_OPTIONS"])
        self.assertEqual(
            words,
            ["--enable-source-maps", environment.QUIET_INSPECTOR, "--require", '/o d/"g".cjs'],
        )
        self.assertEqual((env["OOD_JOIN"], env["OOD_TOKEN"]), ("/j", "token"))

    def test_without_guard(self) -> None:
        """Without the guard nothing points to it."""
        env = environment.build(self.wish(unique_id=4, channel=True))
        self.assertFalse({"NODE_OPTIONS", "OOD_JOIN", "OOD_TOKEN"} & set(env))
        self.assertEqual((env["NODE_UNIQUE_ID"], env["NODE_CHANNEL_FD"]), ("4", "3"))
