"""The examples for Prometheus and Grafana use metrics that there are; the page names them all."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "prometheus"
NAME = re.compile(r"\bood_[a-z0-9_]+")
OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


def documented() -> set[str]:
    """Return the names in docs/metrics.md; ``..._x`` stands beside the name it belongs to."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    names = set(NAME.findall(text))
    for family in ("service", "server"):
        short = re.findall(r"`\.\.\.(_[a-z_]+)`", text)
        names |= {f"ood_l4_{family}{end}" for end in short}
    return names


def used(text: str) -> set[str]:
    """Return the names that expressions use, without what histograms add to them."""
    found = NAME.findall(text)
    ends = "|".join(OF_HISTOGRAMS)
    return {re.sub(f"({ends})$", "", name) if "duration" in name else name for name in found}


def exported() -> set[str]:
    """Return the names in ood's own sources, as far as they are written whole there."""
    names: set[str] = set()
    for path in (ROOT / "ood").rglob("*.py"):
        names |= set(re.findall(r'"(ood_[a-z0-9_]+[a-z0-9])"', path.read_text()))
    return names


class ExampleTests(SynchronousTestCase):
    """Every name is one that ood has."""

    def test_alerts(self) -> None:
        """Alert rules use documented metrics."""
        text = (EXAMPLES / "alerts.yml").read_text()
        expressions = "\n".join(re.findall(r"expr: (.*?)\n\s+(?:for|labels):", text, re.DOTALL))
        names = used(expressions)
        self.assertGreater(len(names), 8)
        self.assertIn("ood_upstream_online", names)
        self.assertLessEqual(names, documented())

    def test_dashboard(self) -> None:
        """So does every panel of the dashboard; none overlaps another."""
        dashboard = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
        places = set()
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                names = used(target["expr"])
                self.assertTrue(names, panel["title"])
                self.assertLessEqual(names, documented(), panel["title"])
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"]) for x in range(place["w"])}
            self.assertFalse(cells & places, panel["title"])
            places |= cells

    def test_page_is_complete(self) -> None:
        """What ood exports is on the page, and totals are called what Prometheus calls them."""
        for name in exported():
            self.assertTrue({name, f"{name}_total"} & documented(), name)

    def test_promtool(self) -> None:
        """Prometheus' own tool has nothing to say against the rules."""
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("promtool is not installed (prometheus)")
        done = subprocess.run(
            [promtool, "check", "rules", str(EXAMPLES / "alerts.yml")],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
