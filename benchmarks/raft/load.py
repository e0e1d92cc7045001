"""Loads a member of ood.raft: n connections, one command under way on each.

A bare epoll loop instead of a client of the library, so that on a small machine
the client costs the members as little as h2load costs etcd.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from struct import Struct

import msgspec

LENGTH = Struct(">I")
CALL, RESULT = 1, 2


def frame(call: int, type: str, body: bytes) -> bytes:
    data = msgspec.msgpack.encode([CALL, call, type, body])
    return LENGTH.pack(len(data)) + data


def read_frame(connection: socket.socket) -> list[object]:
    data = b""
    while len(data) < 4 or len(data) < 4 + LENGTH.unpack(data[:4])[0]:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("closed")
        data += more
    return msgspec.msgpack.decode(data[4:])


def call(connection: socket.socket, type: str, body: object) -> object:
    connection.sendall(frame(1, type, msgspec.msgpack.encode(body)))
    kind, _, code, result = read_frame(connection)
    if kind != RESULT:
        raise RuntimeError(f"{code}: {result!r}")
    return msgspec.msgpack.decode(result)  # type: ignore[arg-type]


def connect(address: str, cluster: str) -> socket.socket:
    host, port = address.split(":")
    connection = socket.create_connection((host, int(port)), timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    call(connection, "hello", [1, cluster, "load"])
    return connection


def leader_of(addresses: list[str], cluster: str, seconds: float = 20.0) -> str:
    """Return the leader's address, waiting for one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for address in addresses:
            try:
                with connect(address, cluster) as connection:
                    own, leader = call(connection, "leader", None)  # type: ignore[misc]
            except (OSError, RuntimeError):
                continue
            if own:
                return address
            if leader is not None:
                return str(leader)
        time.sleep(0.02)
    raise RuntimeError("nobody leads")


def command(body: bytes) -> bytes:
    return frame(1, "command", msgspec.msgpack.encode([body, None, 0]))


def load(address: str, cluster: str, outstanding: int, seconds: float) -> list[float]:
    """Return the latency of every command, in seconds."""
    request = command(msgspec.msgpack.encode(["put", "key", "x" * 85]))
    connections = {}
    poll = select.epoll()
    for _ in range(outstanding):
        connection = connect(address, cluster)
        connection.setblocking(False)
        connections[connection.fileno()] = connection
        poll.register(connection.fileno(), select.EPOLLIN)
    now = time.perf_counter
    began = dict.fromkeys(connections, 0.0)
    latencies: list[float] = []
    start = now()
    for fd, connection in connections.items():
        began[fd] = now()
        connection.send(request)
    end = start + seconds
    while (moment := now()) < end:
        for fd, _ in poll.poll(0.5):
            answer = connections[fd].recv(4096)
            if answer[4:6] != b"\x94\x02" or len(answer) != 4 + LENGTH.unpack(answer[:4])[0]:
                raise RuntimeError(f"unexpected answer {answer!r}")
            moment = now()
            latencies.append(moment - began[fd])
            began[fd] = moment
            connections[fd].send(request)
    for connection in connections.values():
        connection.close()
    return latencies


if __name__ == "__main__":
    addresses, cluster, outstanding, seconds = sys.argv[1:]
    where = leader_of(addresses.split(","), cluster)
    took = sorted(load(where, cluster, int(outstanding), float(seconds)))
    print(
        f"{len(took) / float(seconds):.0f}/s p50 {took[len(took) // 2] * 1e3:.2f} ms"
        f" p99 {took[int(len(took) * 0.99)] * 1e3:.2f} ms"
    )
