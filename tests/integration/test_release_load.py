"""Deployments and ways back under load, through the whole service: nobody notices."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.test_rolling import FULL, KEEP_ALIVE, RELEASES, SHORT, site
from tests.support.apps import nodes
from tests.support.load import SERVER, Load
from tests.support.ood import RunningOod, wait_until

TURNS = 3 if FULL else 1


class LoadTests(SynchronousTestCase):
    """Two workers run one release after the other under clients of every style."""

    def run_releases(self, node: str, *options: str) -> None:
        """Deploy and go back under load; look that each was run, and that nobody noticed."""
        with RunningOod(node=node) as service:
            directory = site(service)
            script = () if options else ("--script", "server.js")
            choice = ("--instances", "2", *script, *options)
            service.ood("init", "site", "--cwd", str(directory), *choice)
            service.ood("deploy", "site")
            service.ood("start", "site")
            load = Load(service.http_port, KEEP_ALIVE, SHORT)
            load.start()
            current = []
            try:
                wait_until(lambda: load.requests > KEEP_ALIVE, "the load runs")
                for turn in range(TURNS):
                    (directory / "server.js").write_text(f"{SERVER}// {turn}\n")
                    for command in ("deploy", "rollback"):
                        service.ood(command, "site")
                        current.append(service.json("status", "site")["release"])
                workers = service.json("status", "site")["workers"]
                enough = load.requests + KEEP_ALIVE
                wait_until(lambda: load.requests > enough, "the load goes on")
            finally:
                load.stop()
        self.assertEqual([worker["reason"] for worker in workers if worker["reason"]], [])
        self.assertEqual(len(set(current)), TURNS + 1)
        self.assertEqual((load.failures[:5], load.closes), ([], 0), load.requests)
        self.assertGreater(load.requests, KEEP_ALIVE * 2)
        if FULL:
            print(f"{node} {options}: {load.requests} requests, 0 failures, 0 closes")

    def chosen(self) -> list[str]:
        """Return the Nodes to run on: one, or all."""
        found = nodes()
        if not found:
            self.skipTest("there is no node")
        known = [found[one] for one in RELEASES if one in found] or list(found.values())
        return known if FULL else known[-1:]

    def test_node(self) -> None:
        """Run by node itself."""
        for node in self.chosen():
            self.run_releases(node)

    def test_npm(self) -> None:
        """Run by npm start."""
        if not FULL:
            self.skipTest("only with OOD_TEST_ROLL_FULL: the ways differ in what rolls test, too")
        for node in self.chosen():
            self.run_releases(node, "--interpreter", "npm", "--script", "start")
