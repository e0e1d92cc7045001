"""Files that are replaced whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ood.atomic import remedy, replace_file


class ReplaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "file"

    def test_replaced(self) -> None:
        """The content and the mode are as wanted, whatever was there; nothing else stays."""
        self.path.write_text("old")
        self.path.chmod(0o666)
        self.addCleanup(os.umask, os.umask(0o077))
        replace_file(self.path, b"new")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        replace_file(self.path, b"newer", mode=0o644, durable=False)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o644)
        self.assertEqual(self.path.read_bytes(), b"newer")
        self.assertEqual(list(self.directory.iterdir()), [self.path])

    def test_remedy(self) -> None:
        """A full disk and a full quota want room, whatever else might help otherwise."""
        for number, wanted in (
            (errno.ENOSPC, "make room on the disk"),
            (errno.EDQUOT, "make room on the disk"),
            (errno.EACCES, "look at its owner"),
        ):
            error = OSError(number, os.strerror(number))
            self.assertEqual(remedy(error, "look at its owner"), wanted)

    def test_readers_keep_the_old_one(self) -> None:
        """Whoever has the file open goes on reading what it was."""
        self.path.write_text("old")
        with self.path.open() as reader:
            replace_file(self.path, b"new")
            self.assertEqual(reader.read(), "old")

    def test_a_link_in_its_way(self) -> None:
        """A symbolic link where the new file is made is not followed."""
        victim = self.directory / "victim"
        victim.write_text("mine")
        (self.directory / ".file.new").symlink_to(victim)
        self.assertRaises(OSError, replace_file, self.path, b"new")
        self.assertEqual(victim.read_text(), "mine")
