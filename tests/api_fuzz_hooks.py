"""What the fuzzer may do: schemathesis loads this before its run, without ood's own packages."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

SOURCES = "OOD_FUZZ_SOURCES"
"""The variable with the directory in which everything is that may be deployed."""
INSTANCES = "OOD_FUZZ_INSTANCES"
"""The variable with the number of workers that the API allows: what is more has to be refused."""
WORKERS_MAX = 2
SERVER = 'require("http").createServer((q, r) => r.end("new")).listen(process.env.PORT);\n'


def make_sources(directory: Path) -> Path:
    """Make what is deployed: a directory, an archive of it, one that can't run, and nothing."""
    good, bad = directory / "good", directory / "bad"
    for place in (good, bad, directory / "empty"):
        place.mkdir(parents=True)
    (good / "server.js").write_text(SERVER)
    (bad / "server.js").write_text("process.exit(1)")
    with tarfile.open(directory / "good.tar.gz", "w:gz") as archive:
        archive.add(good, ".")
    (directory / "not.tar.gz").write_text("no archive")
    return directory


def before_call(_context: Any, case: Any, _arguments: Any) -> None:
    """Lead each deployment to one of the sources, and keep apps to a few workers."""
    body = case.body
    if not isinstance(body, dict):
        return
    if _many(body.get("instances")):
        body["instances"] = WORKERS_MAX
    deploys = case.operation.definition.raw.get("operationId") == "deploy_app"
    if deploys and isinstance(body.get("source"), str) and body["source"]:
        names = ("good", "good.tar.gz", "bad", "empty", "not.tar.gz", "missing")
        chosen = names[sum(map(ord, body["source"])) % len(names)]
        body["source"] = str(Path(os.environ[SOURCES]) / chosen)


def _many(instances: Any) -> bool:
    """Tell whether so many workers, or so many more, would be too much for this machine."""
    digits = str(instances).strip().lstrip("+")
    return digits.isdigit() and int(os.environ[INSTANCES]) >= int(digits) > WORKERS_MAX


try:
    import schemathesis
except ImportError:
    pass  # the service's side of the run needs the sources only
else:
    schemathesis.hook(before_call)
