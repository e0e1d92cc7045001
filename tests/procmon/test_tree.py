"""The kernel's own inotify over real directories; the reactor's turns are made by hand."""

from __future__ import annotations

import errno
import os
import select
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ood.procmon.core.watching import Ignored
from ood.procmon.system import tree
from ood.procmon.system.tree import Tree


class Readers:
    """A reactor whose readers are called when asked to."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def pump(self) -> None:
        """Let every reader read what is there."""
        for reader in list(self.readers):
            while reader in self.readers and select.select([reader], [], [], 0)[0]:
                reader.doRead()


class TreeTests(SynchronousTestCase):
    """One tree."""

    def setUp(self) -> None:
        self.cwd = Path(self.mktemp()).absolute() / "site"
        self.cwd.mkdir(parents=True)
        self.reactor, self.clock = Readers(), Clock()
        self.changes: list[str] = []
        self.troubles: list[str] = []
        self.write("server.js")
        self.write("lib/a.js")
        self.write("node_modules/dep/index.js")

    def write(self, name: str, text: str = "x") -> Path:
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def watch(self, *roots: str, ignore: tuple[str, ...] = ()) -> Tree:
        found = Tree(
            self.reactor,
            self.clock,
            str(self.cwd),
            roots=roots or [""],
            ignored=Ignored(ignore),
            changed=self.changes.append,
            trouble=self.troubles.append,
        )
        found.start()
        self.addCleanup(found.stop)
        self.turn()
        return found

    def turn(self) -> None:
        """Let everything that is to happen happen."""
        for _ in range(50):
            self.clock.advance(0)
            self.reactor.pump()

    def changed(self) -> list[str]:
        self.turn()
        changes = list(dict.fromkeys(self.changes))
        self.changes.clear()
        return changes

    def test_files(self) -> None:
        """Written, replaced, removed, moved; what only opens or reads it is no change."""
        self.watch()
        self.assertEqual(self.changed(), [])
        self.write("server.js", "y")
        self.assertEqual(self.changed(), ["server.js"])
        self.write(".new", "z").rename(self.cwd / "lib/a.js")
        self.assertEqual(self.changed(), ["lib/a.js"])
        (self.cwd / "lib/a.js").read_text()
        self.assertEqual(self.changed(), [])
        (self.cwd / "lib/a.js").unlink()
        self.assertEqual(self.changed(), ["lib/a.js"])
        (self.cwd / "link.js").symlink_to("server.js")
        self.assertEqual(self.changed(), ["link.js"])
        os.link(self.cwd / "server.js", self.cwd / "hard.js")
        self.assertEqual(self.changed(), ["hard.js"])
        with (self.cwd / "late.js").open("w") as file:
            self.assertEqual(self.changed(), [], "it is not written yet")
            file.write("x")
        self.assertEqual(self.changed(), ["late.js"])

    def test_ignored(self) -> None:
        """Directories that are left out are not even watched."""
        one = self.watch(ignore=("uploads",))
        self.assertEqual(len(one), 3, "above, cwd, lib")
        self.write("node_modules/dep/index.js", "y")
        self.write("uploads/deep/x.js")
        self.write("a.log")
        self.write(".git/HEAD")
        self.assertEqual((self.changed(), len(one)), ([], 3))

    def test_directories_come_and_go(self) -> None:
        """What is created later is watched, what was moved away is not."""
        one = self.watch()
        (self.cwd / "empty").mkdir()
        self.assertEqual(self.changed(), [])
        self.write("empty/deep/er/x.js")
        self.assertEqual(self.changed(), ["empty/deep/er/x.js"])
        self.write("empty/deep/er/x.js", "y")
        self.assertEqual(self.changed(), ["empty/deep/er/x.js"])
        count = len(one)
        (self.cwd / "empty").rename(self.cwd.parent / "elsewhere")
        self.assertEqual((self.changed(), len(one)), (["empty"], count - 3))
        (self.cwd.parent / "elsewhere/deep/er/x.js").write_text("z")
        self.assertEqual(self.changed(), [])
        (self.cwd.parent / "elsewhere").rename(self.cwd / "again")
        self.assertEqual(self.changed(), ["again/deep/er/x.js"])
        shutil.rmtree(self.cwd / "again")
        self.assertEqual((self.changed(), len(one)), (["again/deep/er/x.js"], count - 3))

    def test_links_are_not_followed(self) -> None:
        """A linked directory, even one that leads to a circle, is not entered."""
        outside = self.cwd.parent / "outside"
        outside.mkdir()
        (self.cwd / "out").symlink_to(outside)
        (self.cwd / "round").symlink_to(self.cwd)
        one = self.watch()
        self.assertEqual(len(one), 3)
        (outside / "x.js").write_text("x")
        self.assertEqual(self.changed(), [])

    def test_named(self) -> None:
        """Only what was named: files, directories, even what is left out otherwise."""
        self.watch("server.js", "node_modules/dep")
        self.write("lib/a.js", "y")
        self.write("package.json")
        self.assertEqual(self.changed(), [])
        self.write("server.js.new").rename(self.cwd / "server.js")
        self.assertEqual(self.changed(), ["server.js"])
        self.write("server.js", "z")
        self.write("node_modules/dep/index.js", "z")
        self.assertEqual(self.changed(), ["server.js", "node_modules/dep/index.js"])

    def test_current(self) -> None:
        """A cwd that is a link is watched where it leads, and where it leads next."""
        for release in ("1", "2"):
            (self.cwd / release).mkdir()
        site, self.cwd = self.cwd, self.cwd / "current"
        self.cwd.symlink_to("1")
        self.watch()
        (site / "1/x.js").write_text("x")
        self.assertEqual(self.changed(), ["x.js"])
        (site / "next").symlink_to("2")
        (site / "next").rename(self.cwd)
        self.assertEqual(self.changed(), ["."])
        (site / "2/y.js").write_text("x")
        self.assertEqual(self.changed(), ["y.js"])
        (site / "1/x.js").write_text("y")
        self.assertEqual(self.changed(), [])

    def test_beside(self) -> None:
        """What happens beside the app's directory is of no interest, however much it is."""
        self.watch()
        (self.cwd.parent / "beside").write_text("x")
        (self.cwd.parent / "beside").write_text("y")
        (reader,) = self.reactor.readers
        data = os.read(reader.fileno(), 4096)
        self.assertEqual(data.count(b"beside"), 1, "that it was created")
        self.assertEqual(self.changed(), [])

    def test_missing(self) -> None:
        """What is not there is said, and watched once it is."""
        self.watch("src")
        self.assertIn("there is no", self.troubles[0])
        self.write("src/x.js")
        self.assertEqual(self.changed(), ["src/x.js"])

    def test_bounded(self) -> None:
        """Too many directories: said once, the others are watched."""
        self.patch(tree, "DIRECTORIES_MAX", 2)
        self.watch()
        self.assertEqual(len(self.troubles), 1)
        self.assertIn("only 2 directories are watched: there are more than 2", self.troubles[0])
        self.write("server.js", "y")
        self.assertEqual(self.changed(), ["server.js"])

    def refuse(self, number: int, after: int) -> None:
        """Have the kernel refuse directories after some."""
        real, count = tree.Inotify.add, [0]

        def add(inotify: Any, directory: str, events: int, *, follow: bool) -> int:
            count[0] += 1
            if count[0] > after:
                raise OSError(number, os.strerror(number))
            return real(inotify, directory, events, follow=follow)

        self.patch(tree.Inotify, "add", add)

    def test_limit_of_the_kernel(self) -> None:
        """The limit that is used up is named, and what to do about it."""
        self.refuse(errno.ENOSPC, after=2)
        self.watch()
        (trouble,) = self.troubles
        self.assertIn("fs.inotify.max_user_watches", trouble)
        self.assertIn("ignoreWatch", trouble)

    def test_unreadable(self) -> None:
        """A directory that may not be read is named; the others are watched."""
        self.refuse(errno.EACCES, after=2)
        self.watch()
        self.assertEqual(len(self.troubles), 1)
        self.assertIn("lib: Permission denied", self.troubles[0])

    def test_overflow(self) -> None:
        """When the kernel lost events, something has changed, and all is looked through."""
        one = self.watch()
        event = tree.Happening(-1, tree.inotify.OVERFLOW, "")
        one._happened(event)
        self.assertEqual(len(self.changed()), 1)

    def test_stop(self) -> None:
        """Nothing is left, even in the middle."""
        one = self.watch()
        self.write("new/x.js")
        self.reactor.pump()
        one.stop()
        self.assertEqual((self.reactor.readers, self.clock.getDelayedCalls()), ([], []))
