"""What scenarios are played on: an engine, servers behind it and clients before it.

Everything here blocks, and nothing here depends on the engine: the same
scenario runs over the userspace engine and, in user-mode Linux, the kernel.
"""

from __future__ import annotations

import errno
import json
import random
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress

ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 0.3
"""How long nothing has to come where nothing should."""
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 60
HOST_SECONDS = 60


def families(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def allow_many_files():
    """Let this process open as many descriptors as it may: servers are never closed before."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Servers:
    """TCP and UDP servers in a thread; each says its name, then echoes."""

    def __init__(self):
        self.poll = select.epoll()
        self.sockets = {}
        self.wake, self.woken = socket.socketpair()
        self.poll.register(self.woken.fileno(), select.EPOLLIN)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def add(self, host, port):
        """Serve TCP and UDP on a port, if it is still free."""
        name = f"{host}|{port}"
        with ExitStack() as both:
            listener, udp = (
                both.enter_context(socket.socket(families(host), kind))
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
            )
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for sock in (listener, udp):
                sock.bind((host, port))
            listener.listen(128)
            both.pop_all()
        for role, sock in (("listener", listener), ("udp", udp)):
            sock.setblocking(False)
            self.sockets[sock.fileno()] = (role, sock, name)
            self.poll.register(sock.fileno(), select.EPOLLIN)

    def run(self):
        while True:
            for number, _ in self.poll.poll():
                if number == self.woken.fileno():
                    return
                role, sock, name = self.sockets[number]
                with suppress(OSError):  # a client that gave up is no concern of others
                    getattr(self, role)(sock, name)

    def listener(self, sock, name):
        client, _ = sock.accept()
        client.sendall(name.encode() + b"\n")
        self.sockets[client.fileno()] = ("tcp", client, name)
        self.poll.register(client.fileno(), select.EPOLLIN)

    def tcp(self, sock, name):
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if data:
            sock.sendall(data)
            return
        del self.sockets[sock.fileno()]
        self.poll.unregister(sock.fileno())
        sock.close()

    def udp(self, sock, name):
        data, client = sock.recvfrom(65536)
        sock.sendto(name.encode() + b"\n" + data, client)

    def close(self):
        self.wake.close()
        self.thread.join()
        for _, sock, _ in self.sockets.values():
            sock.close()
        self.poll.close()
        self.woken.close()


class Client:
    """A connection that reached a server, or did not (``server`` is None).

    :param patience: how long a datagram's answer may take.
    """

    def __init__(self, kind, vip, source="", source_port=0, patience=ANSWER_SECONDS):
        self.kind = kind
        self.patience = patience
        self.server = None
        self.error = None
        self.sock = socket.socket(families(vip[0]), kind)
        self.sock.settimeout(ANSWER_SECONDS)
        if source or source_port:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind((source, source_port))
        try:
            self.sock.connect(vip)
            self.server = self.say(b"hello") if kind == socket.SOCK_DGRAM else self.greeting()
        except OSError as error:
            self.error = error
            self.sock.close()

    def greeting(self):
        return self.sock.recv(100).decode().strip() or None

    def say(self, data):
        """Send a datagram; return who answered, or None."""
        self.sock.settimeout(self.patience)
        try:
            self.sock.send(data)
            return self.sock.recv(65536).split(b"\n")[0].decode()
        except OSError:
            return None

    def echo(self, data):
        """Return what comes back of ``data`` over TCP."""
        try:
            self.sock.sendall(data)
            got = b""
            while len(got) < len(data):
                part = self.sock.recv(65536)
                if not part:
                    break
                got += part
            return got
        except OSError:
            return None

    def close(self):
        self.sock.close()


class Bench:
    """One engine in a process of its own, three servers, and clients."""

    VIP, VIP6 = "127.0.1.1", "::1"

    def __init__(self, kind):
        allow_many_files()
        self.kind = kind
        self.random = random.Random()  # two of these run at once: not with the same ports
        self.stack = ExitStack()
        self.servers = Servers()
        self.stack.callback(self.servers.close)
        self.clients = []
        self.engine = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.balancer.engine_host", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.stack.callback(self.end_engine)

    def end_engine(self):
        self.engine.stdin.close()
        try:
            self.engine.wait(HOST_SECONDS)
        except subprocess.TimeoutExpired:
            self.engine.kill()
            self.engine.wait()
        self.engine.stdout.close()

    def close(self):
        self.drop()
        self.stack.close()

    def drop(self):
        """Close every client."""
        for client in self.clients:
            client.close()
        self.clients.clear()

    def do(self, name, **arguments):
        line = json.dumps({"do": name, **arguments}).encode() + b"\n"
        self.engine.stdin.write(line)
        self.engine.stdin.flush()
        answer = json.loads(self.engine.stdout.readline())
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]

    def free_port(self, hosts):
        """Return a port below the ephemeral ones that is free on ``hosts``."""
        while True:
            port = self.random.randrange(10000, 32000)
            try:
                for host in hosts:
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        with socket.socket(families(host), kind) as sock:
                            sock.bind((host, port))
            except OSError:
                continue
            return port

    def add_servers(self, weights=(1, 1, 1), *, six=False, **fields):
        """Start a server for each weight; return their documents."""
        documents = []
        for index, weight in enumerate(weights, 1):
            host = "::1" if six else f"127.0.2.{index}"
            port = self.add_server(host)
            fields_of = {"host": host, "port": port, "weight": weight, "forwarder": "m"}
            documents.append({**fields_of, **fields})
        return documents

    def add_server(self, host):
        """Start a server on a port that nobody took meanwhile; return the port."""
        while True:
            port = self.free_port([host])
            try:
                self.servers.add(host, port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port

    def service(self, servers, *, six=False, **fields):
        host = self.VIP6 if six else self.VIP
        document = {"host": host, "port": self.free_port([host]), "servers": servers}
        return {"type": "tcp", "drain": 0, **document, **fields}

    def configure(self, *services):
        failures = self.do("configure", services=list(services))
        assert not failures, failures
        return services[0] if services else None

    def connect(self, service, source="", source_port=0, *, refused=False):
        kind = socket.SOCK_DGRAM if service["type"] == "udp" else socket.SOCK_STREAM
        patience = SILENCE_SECONDS if refused else ANSWER_SECONDS
        client = Client(kind, (service["host"], service["port"]), source, source_port, patience)
        if client.server is None:
            client.close()
        else:
            self.clients.append(client)
        return client

    def reach(self, service, count, sources=("",)):
        """Open connections that stay open; return the servers in order."""
        reached = [
            self.connect(service, sources[index % len(sources)]).server for index in range(count)
        ]
        return [self.index(service, name) for name in reached]

    @staticmethod
    def index(service, name):
        """Return a server's number, from 1, in its service."""
        names = [f"{server['host']}|{server['port']}" for server in service["servers"]]
        return None if name is None else names.index(name) + 1

    def shares(self, service, count, sources=("",)):
        """Return how many of ``count`` connections each server took."""
        taken = Counter(self.reach(service, count, sources))
        return [taken[number] for number in range(1, len(service["servers"]) + 1)]

    def wait(self, seconds):
        select.select([], [], [], seconds)

    def eventually(self, question):
        """Ask again until the answer is true; return it."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not (answer := question()):
            if time.monotonic() > end:
                raise AssertionError(f"not true within {PATIENCE_SECONDS} s")
            self.wait(POLL_SECONDS)
        return answer
