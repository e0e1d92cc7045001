"""What systemd is told, and what is taken over from it."""

from __future__ import annotations

import fcntl
import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from ood.net import supervisor
from ood.net.listen import bind, bind_public
from ood.net.supervisor import Supervisor, name_of
from tests.support.systemd import Systemd

LOOPBACK = "127.0.0.1"
PID = 4321


class SupervisorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.systemd = Systemd()
        self.addCleanup(self.systemd.close)

    def passed(self, *sockets: socket.socket) -> Supervisor:
        """Return a supervisor that was passed ``sockets``; the process keeps its own."""
        # Beyond all that is open: what follows a gap below may be somebody's.
        first = fcntl.fcntl(sockets[0], fcntl.F_DUPFD, max(map(int, os.listdir("/proc/self/fd"))))
        os.close(first)
        for place, sock in enumerate(sockets):
            os.dup2(sock.fileno(), first + place)
        self.patch(supervisor, "FIRST_DESCRIPTOR", first)
        self.environ = {
            "PATH": "/bin",
            "NOTIFY_SOCKET": self.systemd.path,
            "LISTEN_PID": str(PID),
            "LISTEN_FDS": str(len(sockets)),
            "LISTEN_FDNAMES": "stored",
        }
        return Supervisor(self.environ, PID)

    def test_environment(self) -> None:
        """What is only for this process does not reach those that it starts."""
        with bind(LOOPBACK, 0, what="test") as sock:
            self.passed(sock).release_rest()
        self.assertEqual(self.environ, {"PATH": "/bin"})

    def test_messages(self) -> None:
        """Ready and about to end, in systemd's words."""
        known = Supervisor({"NOTIFY_SOCKET": self.systemd.path}, PID)
        known.ready()
        known.stopping()
        self.assertEqual([self.systemd.hear(), self.systemd.hear()], [["READY=1"], ["STOPPING=1"]])

    def test_nobody(self) -> None:
        """Without systemd, or with variables for another process, nothing happens."""
        alone = Supervisor({"LISTEN_PID": "1", "LISTEN_FDS": "2"}, PID)
        alone.ready()
        with bind(LOOPBACK, 0, what="test") as sock:
            alone.keep(sock)
        self.assertIsNone(alone.take(LOOPBACK, 80))

    def test_gone(self) -> None:
        """A systemd that does not listen is a remark in the log, and no more."""
        Supervisor({"NOTIFY_SOCKET": self.systemd.path + "x"}, PID).ready()

    def test_kept(self) -> None:
        """New public sockets are sent; the next process takes them, and binds nothing."""
        known = Supervisor({"NOTIFY_SOCKET": self.systemd.path}, PID)
        before = bind_public(0, what="test", supervisor=known)
        names = [name_of(sock) for sock in before]
        for name in names:
            self.assertEqual(self.systemd.hear(), ["FDSTORE=1", f"FDNAME={name}"])
        self.assertEqual(list(self.systemd.kept), names)
        port = before[0].getsockname()[1]
        next_one = self.passed(*before)
        # Another program could not have the port: it is taken, and who has it is not asked.
        after = bind_public(port, what="test", supervisor=next_one)
        for sock in before:
            sock.close()
        with socket.create_connection((LOOPBACK, port)):
            pass
        self.assertEqual([sock.getsockname()[1] for sock in after], [port] * len(after))
        self.assertFalse(any(sock.get_inheritable() or sock.getblocking() for sock in after))
        for sock in after:
            sock.close()

    def test_other_port(self) -> None:
        """A kept socket that nobody wants any more is given up, here and there."""
        with bind(LOOPBACK, 0, what="test") as sock:
            port = sock.getsockname()[1]
            known = self.passed(sock)
            self.assertIsNone(known.take(LOOPBACK, port + 1))
            known.release_rest()
        self.assertEqual(self.systemd.hear(), ["FDSTOREREMOVE=1", f"FDNAME=ood-ipv4-{port}"])
        with socket.socket() as client:
            self.assertNotEqual(client.connect_ex((LOOPBACK, port)), 0)

    def test_strange_descriptors(self) -> None:
        """What is no listening TCP socket is closed."""
        one, other = socket.socketpair()
        with one, other:
            known = self.passed(one)
            self.assertIsNone(known.take(LOOPBACK, 80))
            self.assertRaises(OSError, os.fstat, supervisor.FIRST_DESCRIPTOR)
