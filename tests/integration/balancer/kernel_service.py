"""Plays the real service over the real kernel, in user-mode Linux.

``python -m tests.integration.balancer.kernel_service`` says "done" at its end.
What the service does is seen from outside, by ``ipvsadm -Ln``.
"""

from __future__ import annotations

import errno
import json
import re
import socket
import socketserver
import subprocess
import threading
import urllib.request

from tests.support import ood as support
from tests.support.ood import RunningOod, wait_until

SLOW_SECONDS = 120
"""System calls take some fifty times as long in the guest."""
ADDRESS, PORT = "127.0.0.3", 8000
BACKENDS = (9001, 9002)
APP_SERVICE = {"host": "127.0.0.1", "port": 8001}
FOREIGN = "127.0.0.9:99"


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(100):
            self.request.sendall(data + b" %d" % self.server.server_address[1])


def echo_servers():
    for port in BACKENDS:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Echo)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()


def ipvsadm(*arguments):
    done = subprocess.run(["ipvsadm", *arguments], capture_output=True, text=True, check=True)
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def put(ood, services):
    request = urllib.request.Request(
        f"http://127.0.0.1:{ood.api_port}/services",
        method="PUT",
        data=json.dumps(services).encode(),
        headers={"X-AUTH-TOKEN": (ood.home / "api-token").read_text().strip()},
    )
    with urllib.request.urlopen(request, timeout=SLOW_SECONDS) as response:
        return json.loads(response.read())


def say(sock, text):
    sock.sendall(text)
    return sock.recv(100)


def service(*ports):
    servers = [{"host": "127.0.0.1", "port": port, "forwarder": "m"} for port in ports]
    return {"host": ADDRESS, "port": PORT, "scheduler": "rr", "drain": 0, "servers": servers}


def play(ood):
    ipvsadm("-A", "-t", FOREIGN, "-s", "wlc")
    put(ood, [service(*BACKENDS)])
    table = ipvsadm("-Ln")
    assert f"TCP {ADDRESS}:{PORT} rr" in table, table
    for port in BACKENDS:
        assert any(line.startswith(f"-> 127.0.0.1:{port} Masq 1") for line in table), table
    with socket.create_connection((ADDRESS, PORT), SLOW_SECONDS) as sock:
        answered = say(sock, b"before")
        ood.stop()
        assert active(ipvsadm("-Ln")) == 1, "a stop of ood changes nothing"
        assert say(sock, b"between") == answered.replace(b"before", b"between")
        ood.start()
        assert active(ipvsadm("-Ln")) == 1, "nor does its start"
        assert say(sock, b"after") == answered.replace(b"before", b"after")
    put(ood, [service(BACKENDS[0]), {**APP_SERVICE, "servers": [{"app": "shop.example"}]}])
    assert relayed(), "the relay has services with apps, not the kernel"
    table = ipvsadm("-Ln")
    assert [line.split()[1] for line in table if "Masq" in line] == ["127.0.0.1:9001"], table
    put(ood, [])
    wait_until(lambda: not any("Masq" in line for line in ipvsadm("-Ln")), "the service is gone")
    assert f"TCP {FOREIGN} wlc" in ipvsadm("-Ln"), "what others made stays"


def relayed():
    """Tell whether the relay listens; it resets, because the app does not run."""
    with socket.socket() as sock:
        return sock.connect_ex((APP_SERVICE["host"], APP_SERVICE["port"])) in {0, errno.ECONNRESET}


def active(table):
    """Return how many connections the kernel has open."""
    return sum(int(found[1]) for line in table if (found := re.search(r"Masq 1 (\d+) ", line)))


def main():
    support.READY_SECONDS = SLOW_SECONDS
    echo_servers()
    with RunningOod() as ood:
        try:
            play(ood)
        except BaseException:
            print(ood.log(), flush=True)
            raise
    print("done")


if __name__ == "__main__":
    main()
