"""The apps of ``tests/apps`` with their dependencies from npm, and the Nodes to run them on."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

from twisted.trial.unittest import SkipTest

SOURCES = Path(__file__).parent.parent / "apps"
INSTALL_SECONDS = 180
INSTALLED = ".installed"
UNREACHABLE = re.compile(
    r"EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH"
    r"|ERR_SOCKET_TIMEOUT|UNABLE_TO_GET_ISSUER_CERT|SELF_SIGNED_CERT"
)
_missing: list[str] = []


def installed(name: str) -> Path:
    """Return a directory with the app ``name``, ready to run.

    It lies outside the source tree, where other users can read it, and is kept for the
    next run: its name has the hash of the app's files.

    :raises SkipTest: npm is not there or reaches no registry.
    """
    source = SOURCES / name
    directory = _cache() / f"{name}-{_hash(source)}"
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process that tests may want the same app
        if not (directory / INSTALLED).exists():
            _install(source, directory)
    return directory


def _cache() -> Path:
    """Return this user's own directory for apps; never one that somebody else made."""
    path = Path(tempfile.gettempdir()) / f"ood-test-apps-{os.geteuid()}"
    path.mkdir(mode=0o755, exist_ok=True)
    status = path.lstat()
    assert path.is_dir() and not path.is_symlink() and status.st_uid == os.geteuid(), path
    path.chmod(0o755)
    return path


def _hash(source: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(source.iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _install(source: Path, directory: Path) -> None:
    npm = shutil.which("npm")
    if _missing:
        raise SkipTest(_missing[0])
    if npm is None:
        raise SkipTest("npm is not installed")
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(source, directory, ignore=shutil.ignore_patterns("node_modules"))
    done = _npm_ci(npm, directory)
    if done.returncode != 0 and UNREACHABLE.search(done.stderr):
        _unreachable()
    assert done.returncode == 0, done.stderr
    (directory / INSTALLED).touch()


def _npm_ci(npm: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [npm, "ci", "--omit=dev", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        return subprocess.run(
            [*command, "--fetch-timeout=60000"],
            check=False,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        _unreachable()


def _unreachable() -> NoReturn:
    """Skip this test, and those that would wait for the same."""
    _missing.append("the npm registry can't be reached")
    raise SkipTest(_missing[0])


def nodes() -> dict[int, str]:
    """Return the Nodes to test on by major version: OOD_TEST_NODES, else the one in PATH."""
    named = os.environ.get("OOD_TEST_NODES")
    paths = named.split(":") if named else filter(None, [shutil.which("node")])
    return {_major(path): path for path in paths}


def _major(node: str) -> int:
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True)
    return int(version.stdout.removeprefix("v").split(".")[0])
