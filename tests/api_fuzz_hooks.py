"""What the fuzzer may deploy: schemathesis loads this before its run."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

SOURCES = "OOD_FUZZ_SOURCES"
"""The variable with the directory in which everything is that may be deployed."""
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
    """Lead each deployment to one of the sources, whatever its source was to be."""
    body = case.body
    if case.operation.definition.raw.get("operationId") != "deploy_app":
        return
    if isinstance(body, dict) and isinstance(body.get("source"), str) and body["source"]:
        names = ("good", "good.tar.gz", "bad", "empty", "not.tar.gz", "missing")
        chosen = names[sum(map(ord, body["source"])) % len(names)]
        body["source"] = str(Path(os.environ[SOURCES]) / chosen)


try:
    import schemathesis
except ImportError:
    pass  # the service's side of the run needs the sources only
else:
    schemathesis.hook(before_call)
