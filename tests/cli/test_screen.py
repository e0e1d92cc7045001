"""What is live, on a real pseudo-terminal: it shows, it follows, it ends and cleans up."""

from __future__ import annotations

import json
import os
import signal

from tests.cli.process import Command, ProcessCase

LEAVES_SCREEN = b"\x1b[?1049l"
"""What puts a terminal's other screen away."""


class ScreenTests(ProcessCase):
    """Commands that take the whole screen."""

    async def shown(self, *arguments: str) -> Command:
        await self.controller.start("shop.example")
        command = self.spawn(*arguments, terminal=True)
        await command.until(b"shop.example")
        return command

    async def ends(self, command: Command, keys: bytes) -> None:
        command.out = b""
        command.transport.write(keys)
        self.assertEqual(await command.ended, 0)
        self.assertIn(LEAVES_SCREEN, command.out)

    async def test_monit(self) -> None:
        """It shows workers and the log, follows what happens, and quits with q."""
        command = await self.shown("monit")
        await command.until(b"4001")
        await command.until(b"first\\x1b[2J line")
        await self.controller.scale("shop.example", "2")
        self.clock.advance(1)
        await command.until(b"4002")
        command.transport.write(b"\x1b[C")
        await command.until(b"log of shop.example: out")
        await self.ends(command, b"q")

    async def test_watch(self) -> None:
        """So does status --watch, of all apps and of one."""
        for arguments in (("status", "-w"), ("status", "shop.example", "--watch")):
            command = await self.shown(*arguments)
            await self.ends(command, b"q")

    async def test_plain_locale(self) -> None:
        """A locale that has not all characters is no reason to show nothing."""
        plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        self.patch(os, "environ", {**os.environ, **plain})
        command = await self.shown("monit")
        await command.until(b"? app")
        await self.ends(command, b"q")

    async def test_interrupt(self) -> None:
        """Ctrl-C gives the terminal back, too."""
        command = await self.shown("monit")
        command.transport.write(b"\x03")
        self.assertEqual(await command.ended, 130)
        self.assertIn(LEAVES_SCREEN, command.out)

    async def test_service_stops(self) -> None:
        """When ood stops, what was known stays, and is said to be old."""
        command = await self.shown("monit")
        await self.service.stopService()
        await command.until(b"this is how it was")
        await self.ends(command, b"q")

    async def test_no_colours(self) -> None:
        """NO_COLOR is honoured."""
        self.patch_environment()
        command = await self.shown("monit")
        await command.until(b"online")
        self.assertNotRegex(command.out, rb"\x1b\[[0-9;]*3[0-7]m")
        await self.ends(command, b"q")

    def patch_environment(self) -> None:
        import os

        self.patch(os, "environ", {**os.environ, "NO_COLOR": "1"})

    async def test_unknown_app(self) -> None:
        """An app that is not there is said, on the normal screen."""
        command = self.spawn("status", "nobody", "--watch", terminal=True)
        self.assertEqual(await command.ended, 1)
        self.assertIn(b"there is no app nobody", command.out.partition(LEAVES_SCREEN)[2])

    async def test_no_terminal(self) -> None:
        """Without a terminal it says what programs take."""
        for arguments in (("monit",), ("status", "--watch")):
            status, out, err = await self.ood(*arguments)
            self.assertEqual((status, out), (1, ""))
            self.assertIn("--json", err)

    async def test_json(self) -> None:
        """Programs get a line for each change."""
        command = self.spawn("status", "--watch", "--json")
        await command.until(b'"stopped"')
        await self.controller.start("shop.example")
        self.clock.advance(1)
        await command.until(b'"online"')
        lines = [json.loads(line) for line in command.out.splitlines()]
        self.assertEqual([line["apps"][0]["state"] for line in lines], ["stopped", "online"])
        command.transport.signalProcess(signal.SIGINT)
        await command.ended
        self.assertEqual(command.err, b"")
