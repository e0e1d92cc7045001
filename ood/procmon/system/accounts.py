"""Users: who an app runs as, and what they may reach."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from ood.errors import WorkerError

ACL_ATTRIBUTE = "system.posix_acl_access"


@dataclass(frozen=True)
class Account:
    """A user of the system.

    :ivar groups: every group, the primary one too.
    :ivar other: whether this is another user than the one ood runs as.
    """

    name: str
    home: str
    uid: int
    gid: int
    groups: frozenset[int]
    other: bool


def _user(user: str | None) -> pwd.struct_passwd:
    try:
        if user is None:
            return pwd.getpwuid(os.getuid())
        return pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        shown = os.getuid() if user is None else user
        raise WorkerError(
            f"user: there is no user {shown}",
            "create it with: useradd --system --user-group NAME, or set another user",
        ) from None


def _group(group: str) -> int:
    try:
        return (grp.getgrgid(int(group)) if group.isdigit() else grp.getgrnam(group)).gr_gid
    except KeyError:
        hint = "create it with: groupadd --system NAME, or set another group"
        raise WorkerError(f"group: there is no group {group}", hint) from None


def find(user: str | None, group: str | None) -> Account:
    """Return the account that these settings name.

    :raises WorkerError: there is none, or ood may not become it.
    """
    entry = _user(user)
    gid = entry.pw_gid if group is None else _group(group)
    mine = entry.pw_uid == os.getuid()
    if os.getuid() != 0 and (not mine or gid not in {os.getgid(), *os.getgroups()}):
        wanted = entry.pw_name if not mine else f"group {group}"
        hint = "run ood as root, or unset user and group"
        raise WorkerError(f"only root can run an app as {wanted}", hint)
    groups = frozenset({gid, *os.getgrouplist(entry.pw_name, gid)})
    other = not mine or (group is not None and gid != os.getgid())
    return Account(entry.pw_name, entry.pw_dir, entry.pw_uid, gid, groups, other)


def _mode_allows(account: Account, status: os.stat_result, bit: int) -> bool:
    if account.uid == 0:
        return bit != os.X_OK or stat.S_ISDIR(status.st_mode) or bool(status.st_mode & 0o111)
    if status.st_uid == account.uid:
        return bool(status.st_mode >> 6 & bit)
    if status.st_gid in account.groups:
        return bool(status.st_mode >> 3 & bit)
    return bool(status.st_mode & bit)


def _allows(account: Account, path: Path, bit: int) -> bool:
    """Tell whether ``account`` may do ``bit`` (as in os.access) with ``path`` itself.

    An access control list is not evaluated: where there is one, the answer is yes and
    the attempt itself will tell.
    """
    if _mode_allows(account, path.stat(), bit):
        return True
    try:
        return bool(os.getxattr(path, ACL_ATTRIBUTE))
    except OSError:
        return False


def obstacle(account: Account, path: Path, bit: int) -> Path | None:
    """Return what keeps ``account`` from doing ``bit`` with ``path``: a directory or itself.

    :raises OSError: there is no such path.
    """
    real = path.resolve(strict=True)
    for directory in reversed(real.parents):
        if not _allows(account, directory, os.X_OK):
            return directory
    return None if _allows(account, real, bit) else real


def describe(path: Path) -> str:
    """Return mode and owner of ``path`` for an error, as ``drwx------ root``."""
    status = path.stat()
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    return f"{stat.filemode(status.st_mode)} {owner}"
