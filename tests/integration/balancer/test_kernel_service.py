"""The real service over the kernel's engine: twistd in user-mode Linux."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.uml import runner

RUN_SECONDS = 400
COMMAND = [sys.executable, "-m", "tests.integration.balancer.kernel_service"]


class KernelServiceTests(SynchronousTestCase):
    def test_from_the_api_to_the_kernel(self):
        """A PUT is in the kernel's table, a restart leaves connections untouched."""
        obstacle = runner.obstacle()
        if obstacle:
            raise SkipTest(obstacle)
        done = runner.run(COMMAND, seconds=RUN_SECONDS)
        self.assertEqual(done.output.splitlines()[-1:], ["done"], done.output + done.errors)
