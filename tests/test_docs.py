"""The documentation names what there is."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_PACKAGE = re.compile(r"[A-Za-z0-9.-]+")
_MODULE = re.compile(r"`(ood/[a-z0-9_/]+(?:\.py|/))`")


class DocumentationTests(SynchronousTestCase):
    def test_links(self) -> None:
        """Every link to a file leads to one."""
        for page in PAGES:
            for target in _LINK.findall(page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")

    def test_every_page_is_listed(self) -> None:
        """The README leads to every page."""
        readme = PAGES[0].read_text()
        for page in PAGES[1:]:
            self.assertIn(f"(docs/{page.name})", readme)

    def test_modules(self) -> None:
        """Files of the code that a page names are there."""
        for page in PAGES:
            for name in _MODULE.findall(page.read_text()):
                self.assertTrue((ROOT / name).exists(), f"{page.name}: {name}")

    def test_dependencies(self) -> None:
        """Every dependency of setup.cfg has its reason."""
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        told = (ROOT / "docs" / "dependencies.md").read_text()
        lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
        for line in "\n".join(lists).split():
            match = _PACKAGE.match(line)
            assert match is not None
            self.assertRegex(told, rf"(?m)^\|[^|]*\b{re.escape(match[0])}\b", line)
