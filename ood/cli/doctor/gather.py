"""The facts of this machine.  Nothing here changes anything, or waits long."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

from ood import __version__
from ood.cli.access import NoAccessError
from ood.cli.doctor.facts import AppFacts, Facts, Listener, Owned, Room, Unit
from ood.cli.systemd import UNIT_NAME
from ood.errors import OodError
from ood.model.apptypes import PROXY, STATIC
from ood.model.document import App, Document
from ood.model.localnames import LOCAL_SUFFIXES
from ood.model.release import placed
from ood.model.schema import check_document
from ood.paths import (
    ADDRESS_FILE,
    APPS_DIRECTORY,
    DOCUMENT_FILE,
    LOGS_DIRECTORY,
    RUN_DIRECTORY,
    TOKEN_FILE,
)
from ood.procmon.system.runtime import NodeRuntime
from ood.procmon.workers.preflight import command, package

RESOLVE_SECONDS = 4.0
"""How long all names together may take: a resolver that does not answer is a finding."""
MODULE_PLACES = ("etc/modules-load.d", "usr/lib/modules-load.d", "lib/modules-load.d")
"""Where systemd looks for what the kernel has to load at boot."""
PROGRAM_SECONDS = 5.0
"""How long a program that is asked may take."""
PRIVATE_ENDS = tuple(f".{suffix}" for suffix in LOCAL_SUFFIXES)
"""Ends of names that lead nowhere in public."""
TIME_ERROR = 5
"""What adjtimex returns while nobody synchronises the clock."""
TIMEX_BYTES = 512
"""More than the kernel's struct timex has."""


def gather(home: Path, answers: Mapping[str, Any], fault: OodError | None) -> Facts:
    """Return the facts.

    :param answers: what the service answered: ``version``, ``settings``, ``apps``,
        ``certificates``.
    :param fault: why it answered nothing.
    """
    document, document_fault = read_document(home / DOCUMENT_FILE)
    ports = _ports(document or Document(), answers.get("settings", {}))
    heard = listeners()
    pids = _service_pids(home / ADDRESS_FILE, heard.get(ports["apiPort"])) if answers else ()
    apps = document.apps if document else {}
    runtime = NodeRuntime()
    return Facts(
        home=str(home),
        root=os.geteuid() == 0,
        user=_user_name(os.geteuid()),
        version=__version__,
        document=document,
        document_fault=document_fault,
        service_version=answers.get("version", ""),
        service_fault=fault.message if fault else "",
        service_fix=fault.hint if fault else "",
        forbidden=isinstance(fault, NoAccessError) and _is_hidden(home / TOKEN_FILE),
        service_pids=pids,
        statuses=tuple(answers.get("apps", ())),
        certificates=tuple(answers.get("certificates", ())),
        node=_node(runtime),
        npm=_npm(runtime),
        ports=ports,
        listeners=heard,
        first_free_port=_number("/proc/sys/net/ipv4/ip_unprivileged_port_start", 1024),
        apps={name: app_facts(home, name, app, runtime) for name, app in apps.items()},
        addresses=frozenset(_addresses()),
        names=resolved(public_names(apps)),
        rooms=_rooms(home),
        open_files=_open_files(pids[0] if pids else os.getpid()),
        owned=owned(home, (".", TOKEN_FILE, DOCUMENT_FILE, RUN_DIRECTORY)),
        ktls="tls" in _words("/proc/sys/net/ipv4/tcp_available_ulp"),
        ktls_at_boot=loads_at_boot("tls"),
        ip_vs=Path("/proc/net/ip_vs").exists(),
        synchronised=_synchronised(),
        unit=_unit(),
    )


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _is_hidden(path: Path) -> bool:
    """Tell whether a file is there that this user may not read."""
    try:
        return path.exists() and not os.access(path, os.R_OK)
    except PermissionError:
        return True


def read_document(path: Path) -> tuple[Document | None, str]:
    """Return the document, or why there is none."""
    try:
        return check_document(msgspec.json.decode(path.read_bytes())), ""
    except FileNotFoundError:
        return Document(), ""
    except OSError as error:
        return None, f"can't read {path}: {error.strerror}"
    except msgspec.DecodeError as error:
        return None, f"{path} is damaged: {error}"
    except OodError as error:
        return None, f"{path} can't be used: {error.message}"


def _ports(document: Document, in_force: Mapping[str, Any]) -> dict[str, int]:
    """Return the service's ports: as it says itself, or as it would choose them."""
    http, https = document.settings.ports(root=os.geteuid() == 0)
    configured = {"httpPort": http, "httpsPort": https, "apiPort": document.settings.api_port}
    ports = {key: int(in_force.get(key, port)) for key, port in configured.items()}
    return {key: port for key, port in ports.items() if port}


def _service_pids(path: Path, answerer: Listener | None) -> tuple[int, ...]:
    """Return the service's processes, itself first.

    :param answerer: who listens where the API answered: a service that started on a full
        disk could not write down who it is.
    """
    pid: int | None
    try:
        pid = int(msgspec.json.decode(path.read_bytes())["pid"])
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        pid = answerer.pid if answerer else None
    try:
        children = psutil.Process(pid).children(recursive=True) if pid else []
    except psutil.Error:
        return ()
    return (pid, *(child.pid for child in children)) if pid else ()


def _output(*words: str) -> str:
    """Return what a program prints; nothing if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROGRAM_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _node(runtime: NodeRuntime) -> tuple[str, str] | None:
    try:
        path = runtime.node()
    except OodError:
        return None
    return path, _output(path, "--version")


def _npm(runtime: NodeRuntime) -> str:
    try:
        return runtime.npm()[-1]
    except OodError:
        return ""


def listeners() -> dict[int, Listener]:
    """Return who listens on which TCP port; another user's process stays unnamed."""
    found: dict[int, Listener] = {}
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return found
    for one in connections:
        if one.status == psutil.CONN_LISTEN and one.laddr:
            found.setdefault(one.laddr.port, _listener(one.pid))
    return found


def _listener(pid: int | None) -> Listener:
    if pid is None:
        return Listener()
    try:
        process = psutil.Process(pid)
        return Listener(pid, process.name(), process.username())
    except psutil.Error:
        return Listener(pid, "a process", "")


def app_facts(home: Path, name: str, app: App, runtime: NodeRuntime) -> AppFacts:
    """Return what is true of an app: whether it could be started, what it depends on."""
    if app.type == PROXY:
        return _of_servers(name, app)
    here = placed(str(home / APPS_DIRECTORY), name, app)
    if app.type == STATIC:
        return _of_files(name, here.cwd)
    packages = package(here.cwd).get("dependencies")
    known = frozenset(packages) if isinstance(packages, dict) else frozenset()
    try:
        command(here, runtime, os.environ.get("PATH"))
    except OodError as error:
        fix = error.hint.replace("APP", name)
        return AppFacts(error.message, fix, known)
    return AppFacts(packages=known)


def _of_servers(name: str, app: App) -> AppFacts:
    """Return what is true of an app whose servers are elsewhere."""
    for upstream in app.upstreams:
        tls = upstream.tls()
        for key, path in tls.named_files().items() if tls else ():
            problem = _unreadable(path)
            if problem:
                fix = f"put it there, or name the right one: ood config -a {name} -g upstreams"
                return AppFacts(f"{key} {path}: {problem}", fix)
    return AppFacts()


def _unreadable(path: str) -> str:
    try:
        with open(path, "rb"):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _of_files(name: str, directory: str) -> AppFacts:
    """Return what is true of an app that is just files."""
    if os.path.isdir(directory):
        return AppFacts()
    fix = f"name the right one: ood config -a {name} -s cwd DIR"
    return AppFacts(f"cwd: {directory} is not a directory", fix)


def public_names(apps: Mapping[str, App]) -> list[str]:
    """Return the names under which visitors look for the apps."""
    names = (host for name, app in apps.items() for host in app.hosts(name))
    return [one for one in names if "." in one and "*" not in one and not _is_private(one)]


def _is_private(name: str) -> bool:
    return name.endswith(PRIVATE_ENDS) or name.replace(".", "").isdigit()


def resolved(names: Iterable[str]) -> dict[str, frozenset[str] | str]:
    """Return the addresses of each name, or why there are none; all are asked at once."""
    found: dict[str, frozenset[str] | str] = {}

    def ask(name: str) -> None:
        try:
            entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            found[name] = frozenset(str(entry[4][0]) for entry in entries)
        except (OSError, UnicodeError) as error:
            found[name] = getattr(error, "strerror", None) or str(error)

    wanted = list(dict.fromkeys(names))
    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in wanted]
    for thread in threads:
        thread.start()
    end = time.monotonic() + RESOLVE_SECONDS
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))
    late = f"no answer within {RESOLVE_SECONDS:g} s"
    return {name: found.get(name, late) for name in wanted}


def _addresses() -> Iterable[str]:
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family in {socket.AF_INET, socket.AF_INET6}:
                yield one.address.partition("%")[0]


def _rooms(home: Path) -> dict[str, Room]:
    """Return the room for logs and releases; once if they are on the same disk."""
    rooms: dict[str, Room] = {}
    devices: dict[int, str] = {}
    for what, name in (("logs", LOGS_DIRECTORY), ("releases", APPS_DIRECTORY)):
        path = next(one for one in (home / name, *(home / name).parents) if one.exists())
        try:
            device, free = path.stat().st_dev, shutil.disk_usage(path)
            files = os.statvfs(path)
        except OSError:
            continue
        if device in devices:
            both = f"{devices[device]} and {what}"
            rooms = {both if key == devices[device] else key: room for key, room in rooms.items()}
            continue
        devices[device] = what
        rooms[what] = Room(free.free, free.total, files.f_favail, files.f_files)
    return rooms


def _open_files(pid: int) -> int:
    """Return how many files a process may open at last: ood raises its own limit."""
    try:
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    except (OSError, ValueError):
        return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def owned(home: Path, names: Iterable[str]) -> dict[str, Owned]:
    """Return who may do what with files of the home, as far as they are there."""
    found = {}
    for name in names:
        try:
            status = (home / name).stat()
        except OSError:
            continue
        ours = status.st_uid == os.geteuid()
        found[name] = Owned(status.st_mode & 0o777, _user_name(status.st_uid), ours)
    return found


def _words(path: str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except OSError:
        return []


def loads_at_boot(module: str, root: Path = Path("/")) -> bool:
    """Tell whether the kernel, which has ``module`` now, has it after each boot.

    :param root: where the machine's files are.
    """
    if module not in _words(str(root / "proc/modules")):
        return True  # it is built in
    files = [file for place in MODULE_PLACES for file in (root / place).glob("*.conf")]
    return any(module in _lines(file) for file in files)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _number(path: str, default: int) -> int:
    words = _words(path)
    return int(words[0]) if words and words[0].isdigit() else default


def _synchronised() -> bool | None:
    """Return whether somebody keeps the clock right; None where the kernel does not say."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


def _unit(marker: Path = Path("/run/systemd/system")) -> Unit | None:
    if not marker.exists():
        return None
    properties = "LoadState,ActiveState,UnitFileState,MainPID,NFileDescriptorStore"
    lines = _output("systemctl", "show", UNIT_NAME, f"--property={properties}").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    installed = values.get("LoadState") not in {None, "not-found"}
    return Unit(
        installed,
        values.get("ActiveState", ""),
        values.get("UnitFileState", ""),
        int(values.get("MainPID") or 0),
        (values.get("NFileDescriptorStore") or "0") != "0",
    )
