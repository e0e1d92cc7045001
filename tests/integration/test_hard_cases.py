"""Apps and clients that misbehave, against the whole service."""

import concurrent.futures
import os
import shutil
import signal
import socket
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.http import ANSWER_SECONDS, Client, get
from tests.support.ood import RunningOod, wait_until

SERVER = """
const http = require('http');
http.createServer((request, response) => response.end(String(process.pid))).listen(3000);
"""
GENEROUS = """
const http = require('http');
const much = Buffer.alloc(20_000_000, 'x');
http.createServer((q, r) => r.end(q.url === '/much' ? much : 'ok')).listen(process.env.PORT);
"""
CLIENTS = 24
REQUESTS = 60


class OneService(SynchronousTestCase):
    """A service of its own for each test."""

    if shutil.which("node") is None:
        skip = "there is no node"

    def setUp(self) -> None:
        self.service = RunningOod()
        self.service.start()
        self.addCleanup(self.service.close)

    def site(self, name: str, text: str = SERVER, script: str = "server.js") -> Path:
        directory = self.service.directory / name
        directory.mkdir()
        (directory / script).write_text(text)
        return directory

    def refused(self, *arguments: str) -> str:
        """Run a command that must fail with status 1; return its stderr."""
        done = self.service.run(*arguments)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr + self.service.log())
        return done.stderr


class Apps(OneService):
    """Apps that can't come up: the command says why, the service goes on."""

    def test_unknown_app(self) -> None:
        """An app that nobody added is named by every verb."""
        for verb in ("start", "stop", "restart", "delete", "status", "log"):
            self.assertIn("nope", self.refused(verb, "nope"))

    def test_script_that_does_not_exist(self) -> None:
        """Found by init, before anything is added, and by start if it vanished later."""
        directory = self.site("gone")
        error = self.refused("init", "gone", "--cwd", str(directory), "--script", "no.js")
        self.assertIn("no.js", error)
        self.service.ood("init", "gone", "--cwd", str(directory))
        (directory / "server.js").unlink()
        self.assertIn("server.js", self.refused("start", "gone"))

    def test_syntax_error(self) -> None:
        """The reason and the app's last lines reach whoever started it."""
        self.service.ood("init", "bad", "--cwd", str(self.site("bad", "this is no JavaScript")))
        error = self.refused("start", "bad")
        self.assertIn("SyntaxError", error)
        self.assertEqual(get(self.service.http_port, "bad.localhost").status, 503)

    def test_app_that_never_listens(self) -> None:
        """The command ends when listenTimeout is over, and says so."""
        directory = self.site("mute", "setInterval(() => {}, 1000)")
        self.service.ood("init", "mute", "--cwd", str(directory))
        self.service.ood("config", "-a", "mute", "-s", "listenTimeout", "1s")
        self.assertIn("listen", self.refused("start", "mute"))
        self.service.ood("stop", "mute")
        self.assertEqual(self.service.json("status", "mute")["state"], "stopped")

    def test_directory_unreadable_by_the_user(self) -> None:
        """An app whose user can't enter its directory: named before a process is started."""
        if os.geteuid() != 0:
            self.skipTest("only root can run an app as another user")
        directory = self.site("closed")
        directory.chmod(0o700)
        self.service.ood("init", "closed", "--cwd", str(directory), "--user", "nobody")
        error = self.refused("start", "closed")
        self.assertIn(str(directory), error)
        self.assertIn("nobody", error)

    def test_another_user(self) -> None:
        """Workers run as the app's user, with nothing of root's left."""
        if os.geteuid() != 0:
            self.skipTest("only root can run an app as another user")
        text = SERVER.replace(
            "String(process.pid)",
            "JSON.stringify([process.getuid(), process.geteuid(), process.getgroups()])",
        )
        directory = self.site("other", text)
        directory.chmod(0o755)
        self.service.add("other", directory, "--user", "nobody")
        uid, euid, groups = get(self.service.http_port, "other.localhost").json()
        self.assertEqual((uid, euid), (65534, 65534))
        self.assertNotIn(0, groups)

    def test_full_disk_for_logs(self) -> None:
        """An app whose log can't be written goes on serving."""
        directory = self.site("loud", SERVER + "\nsetInterval(() => console.log('x'), 20);")
        port = self.service.add("loud", directory)
        log = self.service.home / "logs" / "loud" / "current.log"
        wait_until(log.exists, "the log exists")
        self.service.ood("stop", "loud")
        log.unlink()
        log.symlink_to("/dev/full")
        self.service.ood("start", "loud")
        self.assertEqual(get(port, "loud.localhost").status, 200)
        self.assertEqual(self.service.json("status", "loud")["state"], "online")


class Clients(OneService):
    """Clients that send what no browser would."""

    def setUp(self) -> None:
        super().setUp()
        self.service.add("example.com", self.site("example.com"))
        self.service.ood("init", "other.example", "--cwd", str(self.site("other")))

    def raw(self, *pieces: bytes) -> bytes:
        """Send ``pieces`` one by one; return all that comes back."""
        with socket.create_connection(
            ("127.0.0.1", self.service.http_port), timeout=ANSWER_SECONDS
        ) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                sock.sendall(piece)
            received = b""
            while b"\r\n\r\n" not in received:
                data = sock.recv(65536)
                if not data:
                    break
                received += data
            return received

    def status(self, *pieces: bytes) -> int:
        return int(self.raw(*pieces).split(b" ", 2)[1])

    def test_long_host(self) -> None:
        """A Host of 10,000 bytes is refused; nothing else suffers."""
        head = b"GET / HTTP/1.1\r\nHost: " + b"a" * 10_000 + b"\r\n\r\n"
        self.assertIn(self.status(head), {400, 404, 431})
        self.assertEqual(get(self.service.http_port, "example.com").status, 200)

    def test_two_hosts(self) -> None:
        """Two Hosts are refused: the app and ood could read different ones."""
        head = b"GET / HTTP/1.1\r\nHost: example.com\r\nHost: other.example\r\n\r\n"
        self.assertEqual(self.status(head), 400)

    def test_head_in_pieces(self) -> None:
        """A head that comes byte by byte reaches the worker whole."""
        head = b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Long: yes\r\n\r\n"
        self.assertEqual(self.status(*(head[at : at + 1] for at in range(len(head)))), 200)

    def test_unknown_host(self) -> None:
        """A host that no app has gets a page that says so."""
        answer = get(self.service.http_port, "nobody.example")
        self.assertEqual(answer.status, 404)
        self.assertIn(b"nobody.example", answer.body)

    def test_stopped_app(self) -> None:
        """A stopped app's host gets 503 and the reason."""
        answer = get(self.service.http_port, "other.example")
        self.assertEqual(answer.status, 503)

    def test_clients_that_do_not_read(self) -> None:
        """They wait for themselves: the worker answers others, however a connection reached it."""
        self.service.add("generous", self.site("generous", GENEROUS))
        for proxied in ("false", "true"):
            self.service.ood("config", "-a", "generous", "-s", "requestId", proxied)
            for _ in range(2):
                greedy = socket.create_connection(("127.0.0.1", self.service.http_port))
                self.addCleanup(greedy.close)
                greedy.sendall(b"GET /much HTTP/1.1\r\nHost: generous.localhost\r\n\r\n")
                greedy.recv(1000)
            answer = get(self.service.http_port, "generous.localhost")
            self.assertEqual(answer.body, b"ok", proxied)

    def test_silent_clients(self) -> None:
        """Connections on which nothing comes keep nobody else from being served."""
        silent = [
            socket.create_connection(("127.0.0.1", self.service.http_port)) for _ in range(200)
        ]
        try:
            self.assertEqual(get(self.service.http_port, "example.com").status, 200)
        finally:
            for sock in silent:
                sock.close()


class Deaths(OneService):
    """Workers that die or stand still under load."""

    def setUp(self) -> None:
        super().setUp()
        self.port = self.service.add("site", self.site("site"), "--instances", "2")

    def workers(self) -> list[int]:
        return [worker["pid"] for worker in self.service.json("status", "site")["workers"]]

    def test_kill_under_load(self) -> None:
        """SIGKILL of a worker fails no request on other workers' connections."""
        clients = [Client(self.port, "site") for _ in range(CLIENTS)]
        owners = [int(client.ask().body) for client in clients]
        self.assertEqual(len(set(owners)), 2, "both workers have connections")
        victim = owners[0]
        begun = threading.Barrier(CLIENTS + 1)

        def load(client: Client, owner: int) -> int:
            """Ask again and again; return how many requests failed."""
            begun.wait()
            for done in range(REQUESTS):
                try:
                    assert int(client.ask().body) == owner
                except OSError:
                    return REQUESTS - done
            return 0

        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            results = [pool.submit(load, *pair) for pair in zip(clients, owners, strict=True)]
            begun.wait()
            os.kill(victim, signal.SIGKILL)
            failures = [result.result() for result in results]
        others = [failed for failed, owner in zip(failures, owners, strict=True) if owner != victim]
        self.assertEqual(others, [0] * len(others))
        wait_until(
            lambda: victim not in self.workers() and len(self.workers()) == 2,
            "the worker was replaced",
        )
        self.assertEqual(get(self.port, "site").status, 200)

    def test_stopped_worker(self) -> None:
        """What a stopped worker was handed is answered by the other one once it is killed."""
        victim = self.workers()[0]
        os.kill(victim, signal.SIGSTOP)
        answers: list[int] = []

        def ask() -> None:
            answers.append(get(self.port, "site").status)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        os.kill(victim, signal.SIGKILL)
        for thread in threads:
            thread.join(ANSWER_SECONDS)
        self.assertEqual(answers, [200] * 20)
