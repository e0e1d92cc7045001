"""The guard's files, copied to where every app's user can read them."""

from __future__ import annotations

import hashlib
import shutil
import stat
from importlib import resources
from pathlib import Path

from ood.atomic import remedy, replace_file
from ood.errors import StartupError

ENTRY = "guard.cjs"
"""The file that is preloaded; the others are required by it."""


def install(run: Path) -> str:
    """Copy the guard below ``run``; return the path of its entry.

    ood may be installed where only some users can read.  The copies of older versions
    are removed: no worker outlives the service that started it.  What is there already
    stays, so that a service comes back on a full disk, too.

    :raises StartupError: it can't be copied.
    """
    source = resources.files("ood.procmon.guard")
    files = {one.name: one.read_bytes() for one in source.iterdir() if one.name.endswith(".cjs")}
    digest = hashlib.sha256(b"".join(name.encode() + files[name] for name in sorted(files)))
    target = run / f"guard-{digest.hexdigest()[:12]}"
    try:
        for old in run.glob("guard-*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)
        target.mkdir(exist_ok=True)
        target.chmod(0o755)
        for name, content in files.items():
            if not _is_there(target / name, content):
                replace_file(target / name, content, mode=0o644, durable=False)
    except OSError as error:
        reason = f"can't write {target}: {error.strerror}"
        hint = remedy(error, "make the home directory writable")
        raise StartupError(reason, hint) from None
    return str(target / ENTRY)


def _is_there(path: Path, content: bytes) -> bool:
    """Tell whether ``path`` is a file of ``content`` that everybody may read."""
    try:
        mode = path.lstat().st_mode
        return mode == stat.S_IFREG | 0o644 and path.read_bytes() == content
    except OSError:
        return False  # it is missing, or what it is comes out when it is written
