"""Tests by package, as ``ood/`` has them; ``tests/integration`` runs the whole service.

What they find must not depend on who runs them, in which shell, on which machine.
"""

import os
import resource
import tempfile

from hypothesis import HealthCheck, settings

# A machine that is busy with other things is slow, and that is no failure. Each run has the
# same examples, so that what it says is about what was changed; OOD_TEST_EXPLORE=1 looks for more.
settings.register_profile(
    "ood",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not os.environ.get("OOD_TEST_EXPLORE"),
)
settings.load_profile("ood")

# As the service does: where 1024 files are the custom, some tests need more.
_, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(_most, 65_536), _most))
# What apps of other users shall read is readable, whatever the caller's own files are.
os.umask(0o022)
# Whatever TMPDIR says: unix sockets have 107 bytes for their path, and every user may enter it.
tempfile.tempdir = "/tmp"
# A proxy that leads out of here does not lead to a server of a test.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = f"127.0.0.1,localhost,.localhost,::1,{os.environ.get(_name, '')}".strip(",")
# What a person sets for the own commands is not meant for these.
for _name in (
    "NO_COLOR",
    "FORCE_COLOR",
    "NODE_OPTIONS",
    "NODE_ENV",
    "NODE_PATH",
    "OOD_HOME",
    "PORT",
):
    os.environ.pop(_name, None)
os.environ["TERM"] = "xterm"
for _name in [name for name in os.environ if name.startswith(("GIT_", "LISTEN_", "NOTIFY_"))]:
    del os.environ[_name]
