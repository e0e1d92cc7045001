"""``ood web``: a link to the web page that logs in, once; and a browser, if there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from html import escape
from pathlib import Path

from twisted.internet.defer import Deferred

from ood.api.types import LOOPBACK
from ood.cli.session import Session

OPENER = "xdg-open"
"""What opens a page in the browser that a person prefers."""
DESKTOPS = ("WAYLAND_DISPLAY", "DISPLAY")
"""Variables of which one is set where there is a desktop."""
RUNTIME = "XDG_RUNTIME_DIR"
"""Names a directory of the person's own, which is emptied when they log out."""


async def web(session: Session, *, browser: bool) -> None:
    """Print a link, and open it."""
    made = await session.client.ask("POST", "/login-code")
    url = f"http://{LOOPBACK}:{session.client.port}{made['path']}"
    if session.output.json:
        session.output.value({"url": url, "seconds": made["seconds"]})
        return
    if session.tunnel is not None:
        session.tunnel.forward_port(session.client.port)
    session.output.say(url)
    opened = browser and open_page(url, os.environ)
    done = "It is opened in your browser; it" if opened else "It"
    session.output.remark(f"{done} logs in once, within {made['seconds']} s.")
    if session.tunnel is not None:
        session.output.flush()
        session.output.remark("The tunnel is open until you press Ctrl-C.")
        await Deferred()


def open_page(url: str, env: Mapping[str, str]) -> bool:
    """Open ``url`` in a browser; return whether there is one.

    Everybody on this machine sees the arguments of a command, so the browser is told
    the name of a file that only this user can read, and the file leads to the page.
    """
    opener = shutil.which(OPENER)
    runtime = env.get(RUNTIME)
    if opener is None or not runtime or not any(env.get(name) for name in DESKTOPS):
        return False
    try:
        page = _write(Path(runtime), url)
        nothing = subprocess.DEVNULL
        subprocess.Popen(  # noqa: S603 - the desktop's own program, and no shell
            [opener, str(page)],
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            start_new_session=True,
        )
    except OSError:
        return False
    return True


def _write(directory: Path, url: str) -> Path:
    """Write the file that leads to the page; only its owner can read it from the first byte."""
    path = directory / "ood-web.html"
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    text = f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(url)}">\n'
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path
