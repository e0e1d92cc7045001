"""What pip makes of a checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
DIRECTORIES = ("ood", "twisted")
FILES = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "setup.py")
BUILD_SECONDS_MAX = 120


class BuildTests(SynchronousTestCase):
    def setUp(self) -> None:
        if find_spec("setuptools") is None:
            raise SkipTest("setuptools is not installed")
        self.checkout = Path(self.mktemp()).absolute()
        ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
        for name in DIRECTORIES:
            shutil.copytree(ROOT / name, self.checkout / name, ignore=ignored)
        for name in FILES:
            shutil.copy(ROOT / name, self.checkout)

    def files(self) -> set[Path]:
        """Return what lies in the checkout, but for Python's caches."""
        return {path for path in self.checkout.rglob("*") if "__pycache__" not in path.parts}

    def test_nothing_stays_in_the_checkout(self) -> None:
        """The next build finds nothing that an update has removed, nor files of another user."""
        before = self.files()
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", "egg_info", "build"],
            cwd=self.checkout,
            check=False,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS_MAX,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.files() - before, set())
