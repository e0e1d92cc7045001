"""The way to the service: only where it is safe, and with advice where there is none."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ood.api.types import DEFAULT_PORT
from ood.cli.access import ANY_USER, find_access, listening_user, resolve_home
from ood.errors import OodError

HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout\n"
)

NOBODY = 65534


def row(address: str, port: int, user: int, state: str = "0A") -> str:
    return f"   0: {address}:{port:04X} 00000000:0000 {state} 0:0 00:0 0 {user} 0 12345 1\n"


class AccessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.sockets = Path(self.mktemp())
        self.listen(row("0100007F", DEFAULT_PORT, os.geteuid()))
        (self.home / "api-token").write_text("secret-token\n")

    def listen(self, *rows: str) -> None:
        self.sockets.write_text(HEAD + "".join(rows))

    def refused(self, home: Path | None = None) -> str:
        error = self.assertRaises(OodError, find_access, home or self.home, self.sockets)
        self.assertTrue(error.hint)
        return str(error)

    def test_default_port(self) -> None:
        """Without anything written down, the port is the usual one."""
        access = find_access(self.home, self.sockets)
        self.assertEqual((access.port, access.token), (DEFAULT_PORT, "secret-token"))

    def test_configured_port(self) -> None:
        """The configured port is taken where no service announced one."""
        (self.home / "config.json").write_text(json.dumps({"settings": {"apiPort": 2100}}))
        self.listen(row("0100007F", 2100, os.geteuid()))
        self.assertEqual(find_access(self.home, self.sockets).port, 2100)

    def test_announced_port(self) -> None:
        """What the running service announced comes first."""
        (self.home / "config.json").write_text(json.dumps({"settings": {"apiPort": 2100}}))
        (self.home / "run").mkdir()
        (self.home / "run" / "api.json").write_text(json.dumps({"port": 2200, "pid": 1}))
        self.listen(row("0100007F", 2200, os.geteuid()))
        self.assertEqual(find_access(self.home, self.sockets).port, 2200)

    def test_damaged_files(self) -> None:
        """Files that hold nonsense do not stop it."""
        for text in ("", "{", "[]", '{"settings": 1, "port": "x"}', '{"port": 99999}', "null"):
            (self.home / "config.json").write_text(text)
            (self.home / "run").mkdir(exist_ok=True)
            (self.home / "run" / "api.json").write_text(text)
            self.assertEqual(find_access(self.home, self.sockets).port, DEFAULT_PORT)

    def test_foreign_listener(self) -> None:
        """The token is not sent to another user's program that took the port."""
        stranger = os.geteuid() + 12345
        self.listen(row("0100007F", DEFAULT_PORT, stranger))
        self.assertIn("is held by a program of", self.refused())

    def test_wildcard_listener(self) -> None:
        """Nor to a program that listens everywhere: the service listens on 127.0.0.1."""
        self.listen(row("00000000", DEFAULT_PORT, os.geteuid()))
        self.assertIn("not running", self.refused())

    def test_not_running(self) -> None:
        """If nobody listens, it names the home and the way to start."""
        self.listen(row("0100007F", DEFAULT_PORT, os.geteuid(), "01"))
        text = self.refused()
        self.assertIn(f"not running for the home {self.home}", text)
        self.assertIn(f"twistd -n ood --home {self.home}", text)

    def test_kernel_that_does_not_tell(self) -> None:
        """Where sockets can't be listed, the check is left out."""
        self.assertEqual(listening_user(1, self.sockets / "missing"), ANY_USER)
        self.assertEqual(find_access(self.home, self.sockets / "missing").token, "secret-token")

    def test_no_home(self) -> None:
        """A home that does not exist has no running service."""
        self.assertIn("not running", self.refused(self.home / "missing"))

    def test_other_directory(self) -> None:
        """A directory that is something else is no home."""
        other = Path(self.mktemp()).absolute()
        other.mkdir()
        (other / "letters").mkdir()
        self.assertIn("is not a home of ood", self.refused(other))

    def test_forbidden(self) -> None:
        """A token that may not be read says whose it is, and what to do."""
        home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, home)
        home.chmod(0o755)
        (home / "api-token").touch(0o000)
        if os.geteuid() == 0:
            os.seteuid(NOBODY)  # root reads everything
            self.addCleanup(os.seteuid, 0)
        text = self.refused(home)
        self.assertIn(f"{home}/api-token may be read by", text)
        self.assertIn("sudo", text)


class HomeTests(SynchronousTestCase):
    def test_named(self) -> None:
        """A named home is taken as it is, from here or from the user's own."""
        self.assertEqual(resolve_home("/a/b"), Path("/a/b"))
        self.assertEqual(resolve_home("x"), Path.cwd() / "x")
        self.assertEqual(resolve_home("~/x"), Path.home() / "x")

    def test_default(self) -> None:
        """Without a name it is the one of the service this user would run."""
        root = Path("/var/lib/ood")
        self.assertEqual(resolve_home(None), root if os.geteuid() == 0 else Path.home() / ".ood")
