"""The userspace TCP relay beside HAProxy and nginx's stream module, in one run.

    python -m benchmarks.balancer.relay [--rounds 3] [--seconds 3]

Each proxy has one thread and relays to the same servers: one that pours bytes
(throughput) and nginx (connections a second, asked by ``ab`` without
keep-alive).  Rounds alternate between the proxies, so that a busy machine
disturbs all of them alike; the median of the rounds counts.  Goals: throughput
at least 0.8 times, connections a second at least 0.5 times HAProxy's.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LIBC = ctypes.CDLL(None)
STREAMS = 4
CHUNK_BYTES = 1 << 20
AB_CONNECTIONS = 4000
AB_CONCURRENCY = 32

POUR = """
import os, socket, sys, threading
file = os.memfd_create("zeros")
os.ftruncate(file, 1 << 24)
def pour(client):
    try:
        while True:
            os.sendfile(client.fileno(), file, 0, 1 << 24)
    except OSError:
        client.close()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = listener.accept()
    threading.Thread(target=pour, args=(client,), daemon=True).start()
"""

RELAY = """
import sys
from twisted.internet import reactor
from ood.balancer.core.plan import make_plan
from ood.balancer.core.state import desired_state
from ood.balancer.userspace import UserspaceEngine
from ood.model.servicecheck import read_services
from ood.clock import MonotonicClock
engine = UserspaceEngine(reactor, MonotonicClock(reactor))
ports = [int(port) for port in sys.argv[1:]]
services = read_services([
    {"host": "127.0.0.1", "port": front, "scheduler": "rr",
     "servers": [{"host": "127.0.0.1", "port": back, "forwarder": "m"}]}
    for front, back in (ports[:2], ports[2:])
])
failures = engine.execute(make_plan(desired_state(services), {}, {}, {}, 0.0).steps)
failures.addCallback(lambda found: found and print(found))
reactor.run()
"""

HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen pour
  bind 127.0.0.1:{pour_front}
  server one 127.0.0.1:{pour}
listen web
  bind 127.0.0.1:{web_front}
  server one 127.0.0.1:{web}
"""

NGINX_STREAM = """
{module}
daemon off; worker_processes 1; pid {directory}/stream.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
stream {{
  server {{ listen 127.0.0.1:{pour_front}; proxy_pass 127.0.0.1:{pour}; proxy_buffer_size 64k; }}
  server {{ listen 127.0.0.1:{web_front}; proxy_pass 127.0.0.1:{web}; }}
}}
"""

NGINX_WEB = """
daemon off; worker_processes 1; pid {directory}/web.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  server {{ listen 127.0.0.1:{web} backlog=4096; location / {{ return 200 "hello\\n"; }} }}
}}
"""


class Processes:
    """What the benchmark started, and ends by itself."""

    def __init__(self):
        self.running = []

    def start(self, *command):
        self.running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

    def stop(self):
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(10)


def free_ports(count):
    ports = []
    while len(ports) < count:
        port = random.randrange(10000, 32000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                ports.append(port)
        except OSError:
            continue
    return ports


def wait_for(port):
    for _ in range(200):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def throughput(port, seconds):
    """Return bytes a second over several connections; the reader does not even copy."""
    total = [0] * STREAMS
    ended = []
    until = time.monotonic() + seconds

    def drink(index):
        with socket.create_connection(("127.0.0.1", port)) as client:
            while time.monotonic() < until:
                # the kernel throws the bytes away: the reader costs next to nothing
                size = LIBC.recv(client.fileno(), None, CHUNK_BYTES, socket.MSG_TRUNC)
                if size <= 0:
                    ended.append(port)
                    return
                total[index] += size

    threads = [threading.Thread(target=drink, args=(index,)) for index in range(STREAMS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if ended:
        raise SystemExit(f"port {port} ended the stream")
    return sum(total) / seconds


def connections(port):
    """Return connections a second."""
    done = subprocess.run(
        [
            "ab",
            "-q",
            "-n",
            str(AB_CONNECTIONS),
            "-c",
            str(AB_CONCURRENCY),
            f"http://127.0.0.1:{port}/",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    failed = re.search(r"Failed requests:\s+(\d+)", done.stdout)
    if failed and failed[1] != "0":
        raise SystemExit(f"{failed[1]} requests failed on port {port}")
    return float(re.search(r"Requests per second:\s+([\d.]+)", done.stdout)[1])


def nginx_module():
    for path in ("/usr/lib/nginx/modules/ngx_stream_module.so",):
        if os.path.exists(path):
            return f"load_module {path};"
    return ""


def start_all(processes, directory):
    pour, web, *fronts = free_ports(8)
    pairs = {"ood": fronts[0:2], "haproxy": fronts[2:4], "nginx": fronts[4:6]}

    def config(name, text, proxy):
        path = Path(directory) / name
        values = {"pour": pour, "web": web, "directory": directory, "module": nginx_module()}
        path.write_text(text.format(pour_front=proxy[0], web_front=proxy[1], **values))
        return str(path)

    processes.start(sys.executable, "-c", POUR, str(pour))
    processes.start("nginx", "-c", config("web.conf", NGINX_WEB, (0, 0)))
    wait_for(pour)
    wait_for(web)
    ours = pairs["ood"]
    processes.start(sys.executable, "-c", RELAY, str(ours[0]), str(pour), str(ours[1]), str(web))
    processes.start("haproxy", "-f", config("haproxy.cfg", HAPROXY, pairs["haproxy"]))
    processes.start("nginx", "-c", config("stream.conf", NGINX_STREAM, pairs["nginx"]))
    for pair in pairs.values():
        wait_for(pair[1])
    return {"direct": (pour, web), **pairs}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    for program in ("haproxy", "nginx", "ab"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed; this benchmark needs it")
    processes = Processes()
    with tempfile.TemporaryDirectory() as directory:
        try:
            ports = start_all(processes, directory)
            measure(ports, options)
        finally:
            processes.stop()


def measure(ports, options):
    rates = {name: [] for name in ports}
    speeds = {name: [] for name in ports}
    for _ in range(options.rounds):
        for name, (pour, web) in ports.items():
            speeds[name].append(throughput(pour, options.seconds))
            rates[name].append(connections(web))
    for title, found, unit, scale in (
        ("throughput", speeds, "MB/s", 1e6),
        ("connections", rates, "1/s", 1.0),
    ):
        median = {name: statistics.median(values) for name, values in found.items()}
        row = "  ".join(f"{name} {value / scale:.0f}" for name, value in median.items())
        print(f"{title:12} {unit:5} {row}")
        for other in ("haproxy", "nginx"):
            print(f"{title:12} ood / {other:8} {median['ood'] / median[other]:.2f}")


if __name__ == "__main__":
    main()
