"""One member of a PySyncObj cluster, driven by lines of JSON on stdin."""

from __future__ import annotations

import json
import sys
import threading
import time

from pysyncobj import SyncObj, SyncObjConf, replicated


class Store(SyncObj):  # type: ignore[misc]
    def __init__(self, journal: str, own: str, others: list[str]) -> None:
        conf = SyncObjConf(
            journalFile=journal,
            appendEntriesUseBatch=False,
            commandsWaitLeader=False,
        )
        super().__init__(own, others, conf)
        self.values: dict[str, str] = {}

    @replicated  # type: ignore[untyped-decorator]
    def put(self, key: str, value: str) -> None:
        self.values[key] = value


def load(store: Store, outstanding: int, seconds: float) -> list[float]:
    latencies: list[float] = []
    end = time.monotonic() + seconds
    ended = threading.Semaphore(0)

    def again(began: float) -> None:
        def done(_: object, error: object) -> None:
            now = time.monotonic()
            if not error:
                latencies.append(now - began)
            if now < end:
                again(now)
            else:
                ended.release()

        store.put("key", "x" * 85, callback=done)

    for _ in range(outstanding):
        again(time.monotonic())
    for _ in range(outstanding):
        ended.acquire(timeout=10)
    return latencies


def main() -> None:
    journal, own, *others = sys.argv[1:]
    store = Store(journal, own, others)
    for line in sys.stdin:
        word, *rest = json.loads(line)
        answer: object = None
        if word == "leads":
            leader = store._getLeader()
            answer = leader is not None and str(leader) == own and store.isReady()
        elif word == "load":
            answer = load(store, *rest)
        elif word == "write":
            try:
                store.put("key", "value", sync=True, timeout=0.5)
                answer = True
            except Exception:
                answer = False
        print(json.dumps(answer), flush=True)


main()
