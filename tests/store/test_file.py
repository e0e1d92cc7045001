"""The file store: nothing is lost, nothing half-applied."""

import os
import stat
from pathlib import Path

import msgspec
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from ood.errors import InvalidError, StoreError
from ood.interfaces import IStore
from ood.model.document import App, Document, Settings
from ood.store.file import (
    VERSIONS_KEPT,
    VERSIONS_KEPT_FULL,
    FileStore,
    decode,
    encode,
)
from tests.store.disk import CONFIG, HOME, Disk, PowerCut


def at_once(function):
    """Run a blocking function in the same thread."""
    return maybeDeferred(function)


def with_port(port):
    """Return the change that sets the HTTP port, so that documents differ."""
    return lambda document: msgspec.structs.replace(document, settings=Settings(http_port=port))


class Documents(SynchronousTestCase):
    """What is written is what is read."""

    def test_round_trip(self):
        """A document survives encoding and decoding unchanged."""
        app = App(cwd="/srv/x", port=3001, env={"A": "1"}, instances="max", running=True)
        document = Document(settings=Settings(http_port=8000), apps={"x.example": app})
        self.assertEqual(decode(encode(document)), document)

    def test_only_what_was_chosen_is_written(self):
        """Defaults are not frozen into the file."""
        text = encode(Document(apps={"x": App(cwd="/srv/x", port=3001)})).decode()
        self.assertEqual(
            msgspec.json.decode(text),
            {"schema": 1, "apps": {"x": {"cwd": "/srv/x", "port": 3001}}},
        )


class OnDisk(SynchronousTestCase):
    """Power cuts and write errors at every step."""

    def store(self, disk):
        return FileStore(HOME, at_once, disk)

    def test_power_cut_at_every_step(self):
        """Whatever step the power is cut at, the old or the new document is found."""
        outcomes = set()
        for cut_at in range(1, 40):
            disk = Disk()
            store = self.store(disk)
            self.successResultOf(store.update(with_port(1)))
            disk.cut_at = disk.steps + cut_at
            result = store.update(with_port(2))
            if not disk.off:
                break
            self.failureResultOf(result, PowerCut)
            found = {
                self.store(later).document.settings.http_port for later in disk.after_power_cut()
            }
            self.assertLessEqual(found, {1, 2}, f"power cut at step {cut_at}")
            outcomes |= found
        else:
            self.fail("no update ran to its end")
        self.assertEqual(outcomes, {1, 2})

    def test_acknowledged_is_durable(self):
        """After update() has fired a power cut loses nothing."""
        disk = Disk()
        self.successResultOf(self.store(disk).update(with_port(7)))
        for later in disk.after_power_cut():
            self.assertEqual(self.store(later).document.settings.http_port, 7)

    def test_error_at_every_step(self):
        """A full disk at any step changes nothing, on disk and in memory."""
        for fail_at in range(1, 40):
            disk = Disk()
            store = self.store(disk)
            told = []
            self.successResultOf(store.update(with_port(1)))
            store.subscribe(told.append)
            disk.fail_at = disk.steps + fail_at
            result = store.update(with_port(2))
            if disk.steps < disk.fail_at:
                break
            error = self.failureResultOf(result, StoreError).value
            self.assertIn("No space left", error.message)
            self.assertEqual(store.document.settings.http_port, 1)
            self.assertEqual(self.store(disk).document.settings.http_port, 1)
            self.assertEqual(told, [])
            # and the next change works
            self.successResultOf(store.update(with_port(3)))
            self.assertEqual(self.store(disk).document.settings.http_port, 3)
        else:
            self.fail("no update ran to its end")

    def test_full_disk_costs_the_oldest_version(self):
        """A change on a full disk takes the oldest version's room, as long as some are left."""
        disk = Disk()
        store = self.store(disk)
        versions = VERSIONS_KEPT_FULL + 2
        for port in range(1, versions + 2):
            self.successResultOf(store.update(with_port(port)))
        disk.files_max = len(disk.names_now)
        for port in (91, 92):
            self.successResultOf(store.update(with_port(port)))
            disk.files_max = len(disk.names_now)
        self.assertEqual(self.store(disk).document.settings.http_port, 92)
        disk.files_max -= 2
        error = self.failureResultOf(store.update(with_port(93)), StoreError).value
        self.assertIn("No space left", error.message)
        self.assertEqual(self.store(disk).document.settings.http_port, 92)

    def test_few_versions_are_kept_on_a_full_disk(self):
        """The last versions are not given up for a change."""
        disk = Disk()
        store = self.store(disk)
        for port in range(1, VERSIONS_KEPT_FULL + 2):
            self.successResultOf(store.update(with_port(port)))
        disk.files_max = len(disk.names_now)
        before = set(disk.names_now)
        self.failureResultOf(store.update(with_port(91)), StoreError)
        self.assertEqual(set(disk.names_now), before)

    def test_damaged_document_is_refused_and_left_alone(self):
        """A damaged or newer document is an error that names it; nothing is written."""
        for content in (b"{", b"[]", b'{"schema": 99}', b'{"apps": {"x": {"cwd": 3}}}', b"\xff"):
            disk = Disk({CONFIG: [content]})
            error = self.assertRaises(StoreError, self.store, disk)
            self.assertIn(str(CONFIG), error.message)
            self.assertTrue(error.hint)
            self.assertEqual((disk.read(CONFIG), disk.steps), (content, 0))


class OnFileSystem(SynchronousTestCase):
    """The same store over real files."""

    def setUp(self):
        self.home = Path(self.mktemp())
        self.home.mkdir()
        self.store = FileStore(self.home, at_once)

    def test_provides_the_interface(self):
        """The store is an IStore."""
        verifyObject(IStore, self.store)

    def test_last_versions_are_kept(self):
        """The last twenty documents before the present one can be put back."""
        for port in range(1, VERSIONS_KEPT + 6):
            self.successResultOf(self.store.update(with_port(port)))
        versions = sorted((self.home / "versions").iterdir())
        self.assertEqual(len(versions), VERSIONS_KEPT)
        ports = [decode(path.read_bytes()).settings.http_port for path in versions]
        self.assertEqual(ports, list(range(5, VERSIONS_KEPT + 5)))
        again = FileStore(self.home, at_once)
        self.assertEqual(again.document, self.store.document)

    def test_only_the_owner_reads_it(self):
        """Environment variables hold secrets: mode 0600 whatever the umask."""
        previous = os.umask(0)
        self.addCleanup(os.umask, previous)
        self.successResultOf(self.store.update(with_port(1)))
        mode = stat.S_IMODE((self.home / "config.json").stat().st_mode)
        self.assertEqual(mode, 0o600)

    def test_unchanged_document_is_not_written(self):
        """A change that changes nothing leaves no version behind."""
        self.successResultOf(self.store.update(with_port(1)))
        self.successResultOf(self.store.update(with_port(1)))
        self.assertEqual(list((self.home / "versions").iterdir()), [])

    def test_what_can_not_be_read(self):
        """A document that is no file is an error that says what to look at."""
        (self.home / "config.json").mkdir()
        error = self.assertRaises(StoreError, FileStore, self.home, at_once)
        self.assertIn("Is a directory", error.message)
        self.assertIn("look who owns it", error.hint)

    def test_refused_change(self):
        """What the change raises reaches the caller; the store goes on."""

        def refuse(document):
            raise InvalidError([])

        self.failureResultOf(self.store.update(refuse), InvalidError)
        self.successResultOf(self.store.update(with_port(1)))

    def test_failing_subscriber(self):
        """A part that fails to take a document over does not undo the change."""
        told = []

        def fail(document):
            raise RuntimeError("broken part")

        self.store.subscribe(fail)
        stop = self.store.subscribe(told.append)
        self.successResultOf(self.store.update(with_port(1)))
        stop()
        self.successResultOf(self.store.update(with_port(2)))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertEqual([document.settings.http_port for document in told], [1])
