"""The token is made once, kept to its owner, and never half written."""

from __future__ import annotations

import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ood.api.token import load_or_create_token
from ood.errors import StartupError


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()
        self.file = self.home / "api-token"

    def test_created_once(self) -> None:
        """The first call makes the token, later ones return it."""
        token = load_or_create_token(self.home)
        self.assertGreater(len(token), 40)
        self.assertEqual(load_or_create_token(self.home), token)
        self.assertEqual([path.name for path in self.home.iterdir()], ["api-token"])

    def test_only_the_owner_reads_it(self) -> None:
        """Its mode is 0600, and is put right where it was lost."""
        load_or_create_token(self.home)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.file.chmod(0o644)
        load_or_create_token(self.home)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)

    def test_damaged(self) -> None:
        """A file that holds no token is refused and left alone."""
        for content in (b"", b"short\n", b"\xff" * 40, b"two tokens\nin two lines of it\n"):
            self.file.write_bytes(content)
            error = self.assertRaises(StartupError, load_or_create_token, self.home)
            self.assertIn("api-token", str(error))
            self.assertEqual(self.file.read_bytes(), content)

    def test_unusable_home(self) -> None:
        """A home that is none is an error with the file's name."""
        error = self.assertRaises(StartupError, load_or_create_token, self.home / "missing")
        self.assertIn("missing/api-token", str(error))
