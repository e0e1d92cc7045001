"""``ood why``: what people and programs are shown of deaths."""

from __future__ import annotations

from ood.model.death import DeathList, DeathReport, RequestInFlight
from tests.cli.support import CliCase

DEATH = DeathReport(
    time="2026-01-02T03:04:05.000Z",
    instance=1,
    pid=4711,
    reason="exited with status 1",
    cause="module-not-found",
    explanation="a file or package that it loads is missing: x",
    advice="install it",
    error="Error: Cannot find module 'x' at /srv/shop/a.js:1:2",
    exit_code=1,
    uptime_ms=65_000,
    release="r1",
    memory_bytes=300 << 20,
    memory_growth=24.5 * (1 << 20),
    requests=tuple(RequestInFlight(method="GET", path=f"/{n}", age_ms=n * 900) for n in range(10)),
    stack=("burn (/srv/shop/a.js:3:4)",),
    log=("one", "two \x1b[2J"),
)


class WhyTests(CliCase):
    """The command."""

    def test_everything(self) -> None:
        """All that is known stands below the death, in lines that begin with what it is."""
        self.controller.dead = DeathList(deaths=(DEATH,), pattern="GET /1 was being served")
        out = self.ood("why", "shop.example").out
        expected = """\
2026-01-02T03:04:05.000Z  shop.example: worker 1 (process 4711) exited with status 1
  cause       a file or package that it loads is missing: x
  error       Error: Cannot find module 'x' at /srv/shop/a.js:1:2
  what to do  install it
  uptime      1m 5s
  release     r1
  memory      300.0 MB, growing by 24.5 MB a minute
  in flight   GET /0 (for 0 ms)
              GET /1 (for 900 ms)
              GET /2 (for 1s)
              GET /3 (for 2s)
              GET /4 (for 3s)
              GET /5 (for 4s)
              GET /6 (for 5s)
              GET /7 (for 6s)
              and 2 others
  stack       burn (/srv/shop/a.js:3:4)
  last lines  one
              two \\x1b[2J

GET /1 was being served.
"""
        self.assertEqual(out, expected)

    def test_little(self) -> None:
        """What is not known is not shown; a process that never was has no uptime."""
        bare = DeathReport(time="T", instance=0, pid=None, reason="can't enter /srv")
        self.controller.dead = DeathList(deaths=(bare,))
        out = self.ood("why", "shop.example").out
        self.assertEqual(out, "T  shop.example: worker 0 can't enter /srv\n\n")

    def test_number(self) -> None:
        """The last few are shown, and it is said how to see the others."""
        self.controller.dead = DeathList(deaths=(DEATH,) * 5)
        out = self.ood("why", "shop.example").out
        self.assertEqual(out.count("process 4711"), 3)
        self.assertIn("2 earlier deaths: ood why shop.example -n 5", out)
        self.assertEqual(self.ood("why", "shop.example", "-n", "1").out.count("4711"), 1)
        self.assertEqual(self.ood("why", "shop.example", "-n", "0").status, 2)

    def test_json(self) -> None:
        """Programs get the API's answer."""
        self.controller.dead = DeathList(deaths=(DEATH,) * 5, pattern="p")
        value = self.ood("why", "shop.example", "--json").value
        self.assertEqual(len(value["deaths"]), 5)
        self.assertEqual(value["pattern"], "p")
        self.assertEqual(value["deaths"][0]["memoryGrowth"], 24.5 * (1 << 20))
        self.assertEqual(value["deaths"][0]["requests"][1]["ageMs"], 900)

    def test_none(self) -> None:
        """It is good news that nobody died, and an error that there is no such app."""
        self.assertEqual(
            self.ood("why", "shop.example").out, "No worker of shop.example has died.\n"
        )
        result = self.ood("why", "nobody")
        self.assertEqual((result.status, result.out), (1, ""))
        self.assertIn("there is no app nobody", result.err)
