"""The last deaths of an app's workers, kept over a restart of the service."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec
from twisted.logger import Logger

from ood.atomic import replace_file
from ood.clock import stamp
from ood.model.death import DeathList, DeathReport
from ood.procmon.core.causes import Facts, explain
from ood.procmon.core.lastwords import pattern
from ood.procmon.deaths.record import Death, signal_name

DEATHS_KEPT = 20
"""Deaths that are remembered for ``ood why``."""
FILE_BYTES_MAX = 4 << 20
"""More is no file of ood's: twenty deaths with all their lines take less than 1 MB."""

_decode = msgspec.json.Decoder(list[DeathReport]).decode


def report(app: str, death: Death) -> DeathReport:
    """Return a death as it is shown."""
    evidence = death.evidence
    name = "" if death.signal is None else signal_name(death.signal)
    facts = Facts(
        app=app,
        cwd=evidence.cwd,
        reason=death.reason,
        code=death.code,
        signal=name,
        err=evidence.err,
        thrown=evidence.thrown,
        oom_killed=evidence.oom_killed,
        hung=evidence.hung,
    )
    cause = explain(facts)
    return DeathReport(
        time=stamp(death.time),
        instance=death.instance,
        pid=death.pid,
        reason=death.reason,
        cause=cause.kind,
        explanation=cause.text,
        advice=cause.advice,
        error=cause.error,
        exit_code=death.code,
        signal=name,
        uptime_ms=round(death.uptime_seconds * 1000),
        release=evidence.release,
        memory_bytes=evidence.memory_bytes,
        memory_growth=evidence.memory_growth,
        requests=evidence.requests,
        stack=evidence.stack,
        log=evidence.log,
    )


class Obituaries:
    """The last deaths of one app.

    :param path: the file that keeps them; read when it is first needed.
    """

    log = Logger()

    def __init__(self, app: str, path: Path) -> None:
        self._app = app
        self._path = path
        self._kept: deque[DeathReport] | None = None

    def _all(self) -> deque[DeathReport]:
        if self._kept is None:
            self._kept = deque(self._read(), DEATHS_KEPT)
        return self._kept

    def _read(self) -> list[DeathReport]:
        try:
            with self._path.open("rb") as file:
                return _decode(file.read(FILE_BYTES_MAX))
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as error:
            self.log.warn("{path} is left aside: {error}", path=self._path, error=error)
            return []

    def append(self, death: Death) -> DeathReport:
        """Keep a death; return what is told of it."""
        told = report(self._app, death)
        kept = self._all()
        kept.append(told)
        try:
            self._write(msgspec.json.encode(list(kept)))
        except OSError as error:
            self.log.warn("{path} can't be written: {error}", path=self._path, error=error)
        return told

    def _write(self, content: bytes) -> None:
        """Replace the file; a crash of the machine may cost the last death, never the others."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        # only for ood itself: an app's last lines may hold what visitors sent
        replace_file(self._path, content, durable=False)

    def listed(self) -> DeathList:
        """Return them, newest first, and what they have in common."""
        newest = tuple(reversed(self._all()))
        return DeathList(deaths=newest, pattern=pattern(newest))

    def forget(self) -> None:
        """Remove the file: there is no such app any more."""
        self._kept = deque(maxlen=DEATHS_KEPT)
        with suppress(OSError):
            self._path.unlink()
