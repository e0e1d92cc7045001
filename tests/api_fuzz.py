"""schemathesis against a real service: does the API keep what its OpenAPI document says?

Run by ``scripts/api-fuzz``, which cuts the network off first: whatever the fuzzer
configures, nothing leaves this machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ood.model.kinds import INSTANCES_MAX
from tests.api_fuzz_hooks import INSTANCES, SOURCES, make_sources
from tests.support.ood import RunningOod

SERVER = 'require("http").createServer((q, r) => r.end("ok")).listen(process.env.PORT);\n'
REQUEST_SECONDS = "20"
CONFIG = """
[checks]
# 400 is for what a schema can't say only, operation by operation: see REFUSED.
positive_data_acceptance.expected-statuses = [
    "2xx", "3xx", "401", "403", "404", "409", "502"
]
# 502: what an app did; 503: what is not there now.  A fault of ood's own is 500.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "502", "503"]

[[operations]]
include-operation-id = "read_log"
parameters = { "query.follow" = "false", "path.app" = "shop" }

[[operations]]
include-operation-id = "watch_events"
parameters = { "query.seconds" = 0 }
"""
"""What is expected, and for endless answers their end."""
EXISTING = """
[[operations]]
include-operation-id = "{name}"
parameters = {{ "path.app" = "shop" }}
"""
"""Has an operation be tried on an app that is there."""
REFUSED = """
[[operations]]
include-operation-id = "{name}"
checks.positive_data_acceptance.expected-statuses = [
    "2xx", "3xx", "400", "401", "403", "404", "409", "502"
]
"""
"""Where an answer with 400 to what the schema allows is no fault."""
MAY_BE_REFUSED = {
    "init_app": "a program needs a script, a proxy upstreams; values may be written as texts",
    "change_app": "the same",
    "change_settings": "values may be written as texts",
    "scale_app": "+N and -N are bounded by what there is",
    "maintain_app": "a hold that is written as a text is bounded",
    "deploy_app": "ref goes with a git repository only",
    "add_certificate": "the files have to be there and to fit each other",
    "add_service": "what is needed depends on the type, of the service and of its check",
    "set_services": "the same",
    "set_service": "the same",
    "add_server": "an app, or a host and a port",
    "set_servers": "the same",
}
"""Operations, and what their schemas can't say."""
ON_THE_APP = (
    "get_app",
    "change_app",
    "get_app_config",
    "scale_app",
    "list_deaths",
    "stop_app",
    "deploy_app",
)
HOOKS = "tests.api_fuzz_hooks"
"""Keeps deployments within a directory of the test's own."""


def fuzz(program: str, seconds: int, extra: list[str]) -> int:
    """Return the fuzzer's exit status."""
    with RunningOod() as service:
        directory = service.directory / "shop"
        directory.mkdir()
        (directory / "server.js").write_text(SERVER)
        service.add("shop", directory)
        token = (service.home / "api-token").read_text().strip()
        url = f"http://127.0.0.1:{service.api_port}"
        config = service.directory / "schemathesis.toml"
        entries = (EXISTING.format(name=name) for name in ON_THE_APP)
        refused = (REFUSED.format(name=name) for name in MAY_BE_REFUSED)
        config.write_text(CONFIG + "".join((*entries, *refused)))
        options = ["--checks", "all", "--request-timeout", REQUEST_SECONDS]
        options += ["--max-time", str(seconds), "--header", f"Authorization:Bearer {token}"]
        words = [
            program,
            "--config-file",
            str(config),
            "run",
            f"{url}/openapi.json",
            *options,
            *extra,
        ]
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": HOOKS,
            SOURCES: str(make_sources(service.directory / "sources")),
            INSTANCES: str(INSTANCES_MAX),
        }
        done = subprocess.run(words, check=False, cwd=service.directory, env=environment)
        answers = service.run("status").returncode in {0, 3}
        faults = [line for line in service.log().splitlines() if "Traceback" in line]
        print(f"the service answers: {answers}; faults in its log: {len(faults)}")
        if faults:
            print(service.log()[-8000:])
        return done.returncode or int(not answers or bool(faults))


def main() -> int:
    """Fuzz for as many seconds as the first argument says."""
    program = os.environ.get("SCHEMATHESIS") or shutil.which("schemathesis")
    if program is None or not Path(program).exists():
        print("api-fuzz: schemathesis is not installed: pip install schemathesis", file=sys.stderr)
        return 2
    return fuzz(program, int(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
