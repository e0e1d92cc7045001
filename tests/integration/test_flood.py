"""A worker that writes far more than anybody reads."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.procmon.support import node_runtimes
from tests.support.http import get
from tests.support.ood import RunningOod, wait_until

FLOOD_BYTES = 100 << 20
LINE_BYTES = 100
GROWTH_BYTES_MAX = 20 << 20
"""What the service may grow by: a flood is counted, not kept."""
FLOOD_SECONDS = 150
"""It takes some seconds on a machine with nothing else to do."""

FLOODING = f"""
const http = require('http');
const chunk = Buffer.from(('x'.repeat({LINE_BYTES - 1}) + '\\n').repeat(640));
let state = {{ written: 0, done: false }};
function flood() {{
  // no faster than 100 MB in 5 s, and no more waiting in this process than the pipe holds
  const due = process.hrtime.bigint();
  if (state.written >= {FLOOD_BYTES}) {{ state.done = true; console.log('the end'); return; }}
  process.stdout.write(chunk, () => {{
    state.written += chunk.length;
    const took = Number(process.hrtime.bigint() - due) / 1e6;
    const pause = chunk.length / {FLOOD_BYTES} * 5000 - took;
    setTimeout(flood, Math.max(0, Math.floor(pause)));
  }});
}}
http.createServer((request, response) => {{
  if (request.url === '/flood') flood();
  if (request.url === '/line') console.log('a line');
  const answer = JSON.stringify(state);
  response.setHeader('Content-Length', answer.length).end(answer);
}}).listen(process.env.PORT);
"""


class FloodTests(SynchronousTestCase):
    """100 MB of lines as fast as they can be written, in 5 s at best."""

    if not node_runtimes():
        skip = "there is no node"

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ood-flood-"))
        self.directory.chmod(0o755)
        self.addCleanup(rmtree, self.directory, True)
        (self.directory / "server.js").write_text(FLOODING)
        self.service = RunningOod()
        self.service.start()
        self.addCleanup(self.service.close)
        self.port = self.service.add("flood", self.directory)

    def state(self, path: str = "/") -> Any:
        return json.loads(get(self.port, "flood", path).body)

    def forget_peak(self) -> None:
        """Have the kernel begin anew with the most memory that the service has used."""
        try:
            Path(f"/proc/{self.service.pid}/clear_refs").write_text("5")
        except OSError as error:
            self.skipTest(f"this kernel does not forget a peak of memory: {error}")

    def peak(self) -> int:
        """Return that, in bytes."""
        status = Path(f"/proc/{self.service.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) << 10

    def test_flood(self) -> None:
        """The worker answers meanwhile and gets rid of everything; the service does not grow."""
        self.state()
        self.forget_peak()
        before = self.peak()
        self.state("/flood")
        answers: list[Any] = []
        wait_until(
            lambda: answers.append(self.state()) or answers[-1]["done"], "done", FLOOD_SECONDS
        )
        begun = [one for one in answers if 0 < one["written"] < FLOOD_BYTES]
        self.assertGreater(len(begun), 10, "it answered in the middle of it")
        self.assertLess(self.peak() - before, GROWTH_BYTES_MAX)
        self.check_log()

    def check_log(self) -> None:
        """Every line is in the log, or was counted as left out."""
        home = self.service.home / "logs" / "flood"
        wait_until(lambda: not list(home.glob("*.new")), "nothing is being compressed")
        wait_until(self.all_counted, "every line is there or counted")

    def all_counted(self) -> bool:
        """Tell whether they are; the worker's next line brings the last count."""
        self.state("/line")
        found = self.service.ood("log", "flood", "--since", "1h", "--grep", "^x{99}$").count("\n")
        remarks = self.service.ood("log", "flood", "--since", "1h", "--stream", "ood")
        dropped = sum(int(number) for number in re.findall(r"(\d+) lines were left out", remarks))
        # where lines are dropped one is torn, and counts twice or not at all
        return dropped > 0 and abs(found + dropped - FLOOD_BYTES // LINE_BYTES) < 2000
