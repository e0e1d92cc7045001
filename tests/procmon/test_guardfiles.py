"""The guard's files: there for everybody, and written only where they are not."""

import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ood.errors import StartupError
from ood.procmon.members import guardfiles


class Installing(SynchronousTestCase):
    """:func:`guardfiles.install`."""

    def setUp(self):
        self.run_directory = Path(self.mktemp()).absolute()
        self.run_directory.mkdir()

    def install(self):
        return Path(guardfiles.install(self.run_directory))

    def test_everybody_can_read_them(self):
        """The entry is a file that other users may read."""
        entry = self.install()
        self.assertEqual(entry.name, guardfiles.ENTRY)
        self.assertEqual(stat.S_IMODE(entry.stat().st_mode), 0o644)
        self.assertEqual(stat.S_IMODE(entry.parent.stat().st_mode), 0o755)

    def test_a_full_disk_does_not_keep_a_service_from_starting_again(self):
        """Files that are there are not written: what would be written first can't be."""
        entry = self.install()
        before = {path: path.stat().st_ino for path in entry.parent.iterdir()}
        for path in before:
            (entry.parent / f".{path.name}.new").mkdir()  # whatever writes fails
        self.assertEqual(self.install(), entry)
        self.assertEqual({path: path.stat().st_ino for path in before}, before)

    def test_damaged_files_are_made_anew(self):
        """Content, mode and kind are put right, and nothing is written through a link."""
        entry = self.install()
        content = entry.read_bytes()
        elsewhere = self.run_directory / "elsewhere"
        elsewhere.write_bytes(content)
        damages = [
            lambda: entry.write_bytes(content[:10]),
            lambda: entry.chmod(0o600),
            entry.unlink,
            lambda: (entry.unlink(), entry.symlink_to(elsewhere)),
        ]
        for damage in damages:
            damage()
            self.install()
            self.assertEqual(entry.read_bytes(), content)
            self.assertEqual(stat.S_IMODE(entry.lstat().st_mode), 0o644)
            self.assertFalse(entry.is_symlink())

    def test_what_can_not_be_written_is_an_error(self):
        """It names the place, and says what to do."""
        entry = self.install()
        entry.unlink()
        (entry.parent / f".{entry.name}.new").mkdir()
        error = self.assertRaises(StartupError, self.install)
        self.assertIn(str(entry.parent), error.message)
        self.assertTrue(error.hint)
