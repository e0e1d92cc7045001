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

from tests.support.ood import RunningOod

SERVER = 'require("http").createServer((q, r) => r.end("ok")).listen(process.env.PORT);\n'
ENDLESS = ("watch_events",)
"""Answers that do not end by themselves."""
ANYWHERE = ("deploy_app",)
"""Copies whatever directory it is told."""
REQUEST_SECONDS = "20"
CONFIG = """
[checks]
# What a schema can't say, such as which directories there are, is refused with 400.
positive_data_acceptance.expected-statuses = [
    "2xx", "3xx", "400", "401", "403", "404", "409", "502"
]
# 502: what an app did; 503: what is not there now.  A fault of ood's own is 500.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "502", "503"]

[[operations]]
include-operation-id = "read_log"
parameters = { "query.follow" = "false", "path.app" = "shop" }
"""
"""What is expected, and for endless answers their end."""
EXISTING = """
[[operations]]
include-operation-id = "{name}"
parameters = {{ "path.app" = "shop" }}
"""
"""Has an operation be tried on an app that is there."""
ON_THE_APP = ("get_app", "change_app", "get_app_config", "scale_app", "list_deaths", "stop_app")


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
        config.write_text(CONFIG + "".join(entries))
        options = ["--checks", "all", "--request-timeout", REQUEST_SECONDS]
        options += ["--max-time", str(seconds), "--header", f"Authorization:Bearer {token}"]
        for name in (*ENDLESS, *ANYWHERE):
            options += ["--exclude-operation-id", name]
        words = [
            program,
            "--config-file",
            str(config),
            "run",
            f"{url}/openapi.json",
            *options,
            *extra,
        ]
        done = subprocess.run(words, check=False, cwd=service.directory)
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
