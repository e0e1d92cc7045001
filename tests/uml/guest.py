"""Process 1 of the guest: builds a root, loads modules, runs the command.

The host starts this file by its path with a bare interpreter, so it uses the
standard library only.  The guest's root is the host's, read-only, below a
tmpfs: the command sees every file of the host and may write anywhere, and
nothing that it writes gets out, except what it prints.
"""

import ctypes
import errno
import fcntl
import json
import os
import platform
import select
import socket
import struct
import subprocess
import sys

MODULES_DIRECTORY = "/usr/lib/uml/modules"
JOB = "/run/job"
ROOT = "/run/root"

MS_MOVE = 8192
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
FINIT_MODULE = {"x86_64": 313, "aarch64": 273}
POWER_OFF = 0x4321FEDC
REAP_SECONDS = 0.02
FSYNC_SECONDS = 0.2

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    """Raise OSError when a call of libc failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind, flags=0, options=""):
    """Mount a file system."""
    arguments = [text.encode() if text else None for text in (source, target, kind)]
    result = libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None)
    check(result, f"mount {kind or source} on {target}")


class Modules:
    """Loads kernel modules with finit_module(2), so that kmod isn't needed."""

    def __init__(self):
        self.directory = os.path.join(MODULES_DIRECTORY, os.uname().release)
        self.needs = {}
        for line in self._lines("modules.dep"):
            path, _, rest = line.partition(":")
            self.needs[self.name(path)] = (path, rest.split())
        self.loaded = {self.name(line) for line in self._lines("modules.builtin")}

    def _lines(self, file):
        with open(os.path.join(self.directory, file)) as lines:
            return [line.strip() for line in lines]

    @staticmethod
    def name(path):
        """Return a module's name as the kernel says it."""
        return os.path.basename(path).split(".")[0].replace("-", "_")

    def load(self, name):
        """Load a module after those it needs."""
        if name in self.loaded:
            return
        if name not in self.needs:
            raise OSError(errno.ENOENT, f"no module {name} in {self.directory}")
        path, needs = self.needs[name]
        for needed in reversed(needs):
            self.load(self.name(needed))
        self._insert(path)
        self.loaded.add(name)

    def _insert(self, path):
        file = os.open(os.path.join(self.directory, path), os.O_RDONLY)
        try:
            result = libc.syscall(FINIT_MODULE[platform.machine()], file, b"", 0)
            if result != 0 and ctypes.get_errno() != errno.EEXIST:
                check(result, f"load {path}")
        finally:
            os.close(file)


def build_root():
    """Make the overlay that becomes the guest's root."""
    for name in ("upper", "work", "root"):
        os.mkdir(f"/run/{name}")
    options = "lowerdir=/,upperdir=/run/upper,workdir=/run/work"
    mount("none", ROOT, "overlay", 0, options)
    for target, kind, settings in (
        ("/proc", "proc", ""),
        ("/sys", "sysfs", ""),
        ("/dev", "devtmpfs", ""),
        ("/run", "tmpfs", "mode=755"),
        ("/tmp", "tmpfs", "mode=1777"),
    ):
        mount(kind, ROOT + target, kind, 0, settings)


def enter_root():
    """Make the overlay the root of the mount namespace."""
    os.chdir(ROOT)
    mount(".", "/", "", MS_MOVE)
    os.chroot(".")
    os.chdir("/")


def bring_up(interface):
    """Set an interface up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        question = struct.pack("16sH14x", interface.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, SIOCGIFFLAGS, question))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags | IFF_UP))


def run(job, directory):
    """Run the command with the job's files as its standard streams; return its status."""
    streams = [
        os.open(name, os.O_WRONLY | os.O_APPEND, dir_fd=directory) for name in ("stdout", "stderr")
    ]
    process = subprocess.Popen(
        job["command"],
        cwd=job["cwd"],
        env=job["environment"],
        stdin=subprocess.DEVNULL,
        stdout=streams[0],
        stderr=streams[1],
        start_new_session=True,
    )
    return wait(process.pid, streams)


def wait(pid, streams):
    """Reap every child until ``pid`` ends; hand its output out to the host."""
    since = 0.0
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == pid:
            break
        if ended == 0:
            select.select([], [], [], REAP_SECONDS)
            since += REAP_SECONDS
        if since >= FSYNC_SECONDS:
            since = 0.0
            for stream in streams:
                os.fsync(stream)
    for stream in streams:
        os.fsync(stream)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def report(directory, name, text):
    """Write a small file for the host, in one piece."""
    temporary = name + ".new"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=directory)
    os.write(file, text.encode())
    os.fsync(file)
    os.close(file)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)


def main(job_directory):
    """Do everything, then power off; process 1 must not return."""
    mount("proc", "/proc", "proc")
    mount("tmpfs", "/run", "tmpfs", 0, "mode=755")
    os.mkdir(JOB)
    mount("none", JOB, "hostfs", 0, job_directory)
    directory = os.open(JOB, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with open(JOB + "/job.json") as file:
            job = json.load(file)
        modules = Modules()
        modules.load("overlay")
        build_root()
        enter_root()
        for name in job["modules"]:
            modules.load(name)
        bring_up("lo")
        report(directory, "status", str(run(job, directory)))
    except BaseException as error:
        report(directory, "error", f"{type(error).__name__}: {error}")
    finally:
        os.sync()
        libc.reboot(ctypes.c_int(POWER_OFF))


if __name__ == "__main__":
    main(sys.argv[1])
