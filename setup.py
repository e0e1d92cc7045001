"""Where pip builds ood: setup.cfg has the rest.

setuptools would build in ``build/`` of the checkout and install whatever lies there, so
that files which an update moved or removed would be installed again; and after an
installation by root, nobody else could build there.
"""

import atexit
import shutil
import tempfile

from setuptools import setup
from setuptools.command.build import build
from setuptools.command.egg_info import egg_info


def fresh_directory() -> str:
    """Return a new directory, which goes when the build ends."""
    path = tempfile.mkdtemp(prefix="ood-build-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


class Build(build):
    """A build that begins with nothing."""

    def initialize_options(self) -> None:
        """Choose the directory."""
        super().initialize_options()
        self.build_base = fresh_directory()


class EggInfo(egg_info):
    """Metadata for a wheel, beside the build; an editable installation has it in the checkout."""

    def initialize_options(self) -> None:
        """Choose the directory."""
        super().initialize_options()
        if "editable_wheel" not in self.distribution.commands:
            self.egg_base = fresh_directory()


setup(cmdclass={"build": Build, "egg_info": EggInfo})
