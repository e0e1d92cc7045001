"""Only regular files below the root are opened, whatever lies beside them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from shutil import rmtree
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from ood.proxy.core.static.paths import place_of
from ood.proxy.static.files import File, Root, UnreadableError


class RootTests(SynchronousTestCase):
    """A root with everything in it that could be in the way."""

    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ood-files-"))
        self.addCleanup(rmtree, self.home)
        self.root = self.home / "www"
        (self.root / "sub").mkdir(parents=True)
        (self.root / "a.txt").write_text("inside")
        (self.root / "sub" / "b.txt").write_text("below")
        (self.home / "www-secret").mkdir()
        (self.home / "www-secret" / "c.txt").write_text("beside")
        self.before = len(os.listdir("/proc/self/fd"))

    def tearDown(self) -> None:
        self.assertEqual(len(os.listdir("/proc/self/fd")), self.before)

    def open(self, path: str) -> File | None:
        with Root(str(self.root)) as root:
            return root.open(path.encode())

    def content(self, path: str) -> bytes:
        file = self.open(path)
        assert file is not None
        try:
            return file.read(0, file.size)
        finally:
            file.close()
            file.close()

    def test_there(self) -> None:
        """Files and directories, also by links that stay inside."""
        (self.root / "link.txt").symlink_to("sub/b.txt")
        (self.root / "whole").symlink_to(self.root / "sub")
        self.assertEqual(self.content("a.txt"), b"inside")
        self.assertEqual(self.content("link.txt"), b"below")
        self.assertEqual(self.content("whole/b.txt"), b"below")
        self.assertIsNone(self.open("sub"))
        self.assertIsNone(self.open(""))

    def test_links_that_leave(self) -> None:
        """A link out of the root is as if it were not there, for files and directories."""
        (self.root / "absolute").symlink_to("/etc/passwd")
        (self.root / "relative").symlink_to("../www-secret/c.txt")
        (self.root / "directory").symlink_to("../www-secret")
        (self.root / "up").symlink_to("..")
        (self.root / "chain").symlink_to("up")
        for path in (
            "absolute",
            "relative",
            "directory/c.txt",
            "directory",
            "up",
            "chain/a.txt",
            "up/www/../www-secret/c.txt",
            "/etc/passwd",
            "../www-secret/c.txt",
            "..",
        ):
            self.assertRaises(OSError, self.open, path)

    def test_back_inside(self) -> None:
        """What counts is where a file lies, not the way to it."""
        (self.root / "round").symlink_to("../www/a.txt")
        self.assertEqual(self.content("round"), b"inside")

    def test_no_files(self) -> None:
        """Pipes, sockets and devices are not touched: none blocks, none is opened."""
        os.mkfifo(self.root / "pipe")
        (self.root / "device").symlink_to("/dev/zero")
        (self.root / "loop").symlink_to("loop")
        for path in ("pipe", "device", "gone", "a.txt/x", "loop", "x" * 300):
            self.assertRaises(FileNotFoundError, self.open, path)

    def test_private(self) -> None:
        """A file that is not for everybody is not shown, even by root."""
        (self.root / "a.txt").chmod(0o600 if os.geteuid() == 0 else 0)
        self.assertRaises(UnreadableError, self.open, "a.txt")

    def test_private_directory(self) -> None:
        """What lies in a directory that not everybody may enter is not shown."""
        (self.root / "sub").chmod(0o750)
        if os.geteuid() == 0:
            with self.assertRaises(UnreadableError):
                self.open("sub/b.txt")
        self.assertEqual(b"inside", self.content("a.txt"))

    def test_root_by_a_link_astray(self) -> None:
        """A link, whose owner may be anybody, does not make a private directory a site."""
        if os.geteuid() != 0:
            raise SkipTest("only root gets into the directories of others")
        self.home.chmod(0o755)
        vault = self.home / "vault"
        (vault / "in").mkdir(parents=True)
        (vault / "in" / "a.txt").write_text("secret")
        vault.chmod(0o700)
        self.root.rename(self.home / "old")
        self.root.symlink_to(vault / "in")
        with self.assertRaises(PermissionError):
            self.open("a.txt")
        vault.chmod(0o711)
        self.assertEqual(b"secret", self.content("a.txt"))

    def test_root_by_a_link(self) -> None:
        """The root itself may be a link, to the release that is current, say."""
        (self.home / "current").symlink_to("www")
        with Root(str(self.home / "current")) as root:
            file = root.open(b"a.txt")
        assert file is not None
        file.close()

    def test_no_root(self) -> None:
        """A root that is gone, or a file, is an error."""
        self.assertRaises(OSError, Root, str(self.home / "gone"))
        self.assertRaises(OSError, Root, str(self.root / "a.txt"))

    def test_whole_system(self) -> None:
        """The file system's root is a root, too."""
        self.home.chmod(0o755)
        with Root("/") as root:
            file = root.open(bytes(self.root / "a.txt").lstrip(b"/"))
        assert file is not None
        file.close()

    def test_variants(self) -> None:
        """The first compressed sibling that is there and no older takes the file's place."""
        (self.root / "a.txt.gz").write_bytes(b"gz")
        (self.root / "a.txt.br").write_bytes(b"older")
        times = (self.root / "a.txt").stat().st_mtime_ns
        os.utime(self.root / "a.txt.gz", ns=(times, times))
        os.utime(self.root / "a.txt.br", ns=(times - 1, times - 1))
        (self.root / "a.txt.zst").mkdir()
        siblings = [("br", b".br"), ("zstd", b".zst"), ("gzip", b".gz")]
        with Root(str(self.root)) as root:
            file = root.open(b"a.txt")
            assert file is not None
            self.assertEqual(root.variants(b"a.txt", file, siblings[:2]), "")
            self.assertEqual(file.read(0, 10), b"inside")
            self.assertEqual(root.variants(b"a.txt", file, siblings), "gzip")
        self.assertEqual((file.size, file.read(0, 10)), (2, b"gz"))
        file.close()

    def test_targets(self) -> None:
        """No target reaches what lies beside the root."""
        for target in (b"/../www-secret/c.txt", b"/%2e%2e/www-secret/c.txt", b"/..%2fwww-secret"):
            self.assertIsNone(place_of(target))
