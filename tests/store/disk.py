"""A disk whose power can be cut at every step, for the store's tests.

What a write leaves behind follows POSIX as Linux file systems keep it: content
that was not synced may be missing or torn; names changed in a directory that
was not synced may be lost, but only from the latest back.
"""

import errno
import itertools
from pathlib import Path


class PowerCut(BaseException):
    """The machine is off; nothing after this runs."""


class Disk:
    """:class:`ood.store.files.Files` in memory."""

    def __init__(self, names=None):
        self.names_now = dict(names or {})  # path -> content (a list of one bytes, shared by links)
        self.pending = []  # name changes since the last sync, in order
        self.synced_names = dict(self.names_now)
        self.unsynced = []  # contents that a power cut may tear
        self.steps = 0
        self.off = False
        self.cut_at = None
        self.fail_at = None
        self.files_max = None

    def _step(self):
        self.steps += 1
        if self.off or self.steps == self.cut_at:
            self.off = True
            raise PowerCut
        if self.steps == self.fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    def _change(self, path, content):
        self.pending.append((path, content))
        if content is None:
            self.names_now.pop(path, None)
        else:
            self.names_now[path] = content

    def read(self, path):
        content = self.names_now.get(path)
        return None if content is None else content[0]

    def names(self, directory):
        return [path.name for path in self.names_now if path.parent == directory]

    def make_directory(self, directory):
        self._step()

    def write(self, path, content):
        self._step()
        if self.files_max is not None and len(self.names_now) >= self.files_max:
            raise OSError(errno.ENOSPC, "No space left on device")
        cell = [b""]
        self._change(path, cell)
        self.unsynced.append(cell)
        self._step()
        cell[0] = content
        self._step()
        self.unsynced.remove(cell)

    def link(self, source, target):
        self._step()
        if target in self.names_now:
            raise OSError(errno.EEXIST, "File exists")
        self._change(target, self.names_now[source])

    def rename(self, source, target):
        self._step()
        content = self.names_now[source]
        # one step for whoever looks, now and after a power cut
        self.pending.append(((source, target), content))
        del self.names_now[source]
        self.names_now[target] = content

    def remove(self, path):
        self._step()
        self._change(path, None)

    def sync_directory(self, directory):
        self._step()
        self.pending.clear()
        self.synced_names = dict(self.names_now)

    def after_power_cut(self):
        """Yield every disk that may be found when the power is back."""
        torn = [
            [content[0][:length] for length in {0, len(content[0]) // 2, len(content[0])}]
            for content in self.unsynced
        ]
        for done in range(len(self.pending) + 1):
            for choice in itertools.product(*torn):
                found = dict(self.synced_names)
                for path, content in self.pending[:done]:
                    if isinstance(path, tuple):
                        found.pop(path[0], None)
                        found[path[1]] = content
                    elif content is None:
                        found.pop(path, None)
                    else:
                        found[path] = content
                replaced = {
                    id(cell): [new] for cell, new in zip(self.unsynced, choice, strict=True)
                }
                yield Disk({p: replaced.get(id(c), c) for p, c in found.items()})


HOME = Path("/home-of-ood")
CONFIG = HOME / "config.json"
