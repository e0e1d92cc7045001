"""Errors that end Node apps, explained: one table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """An error that is known.

    :ivar kind: a word for programs.
    :ivar pattern: looked for in ``name code message``; a group of it names what it is about.
    :ivar text: what it means.
    :ivar advice: what to do; ``{app}`` and ``{cwd}`` are filled in.
    :ivar anywhere: whether it counts on any line of stderr, without an exception.
    """

    kind: str
    pattern: re.Pattern[str]
    text: str
    advice: str
    anywhere: bool = False

    def explained(self, *texts: str) -> str:
        """Return what it means, and what it is about as the first of ``texts`` says that does."""
        matches = (match for text in texts for match in self.pattern.finditer(text))
        groups = (group for match in matches for group in match.groups() if group)
        about = next(groups, "")
        return f"{self.text}: {about}" if about else self.text


def _known(kind: str, pattern: str, text: str, advice: str, *, anywhere: bool = False) -> Known:
    return Known(kind, re.compile(pattern), text, advice, anywhere)


ERRORS: tuple[Known, ...] = (
    _known(
        "address-in-use",
        r"address already in use (\S+)|EADDRINUSE",
        "the port is taken",
        "only one server of a process can have it; listen on process.env.PORT, and see who has "
        "it: ss -ltnp",
    ),
    _known(
        "module-not-found",
        r"Cannot find module '([^']+)'|Cannot find package '([^']+)'"
        r"|MODULE_NOT_FOUND",
        "a file or package that it loads is missing",
        "install what it depends on, in {cwd}: npm ci; for a file of its own: was it built "
        "(npm run build, or ood deploy {app} --build) and deployed, is the letter case right?",
    ),
    _known(
        "native-module",
        r"NODE_MODULE_VERSION|ERR_DLOPEN_FAILED|was compiled against a different Node",
        "a native module was built for another Node, or another system",
        "build it again with the Node that runs it, in {cwd}: npm rebuild",
    ),
    _known(
        "syntax",
        r"^SyntaxError",
        "its source is no JavaScript that this Node understands",
        "look at the place; was it compiled, is Node new enough (node --version)?",
    ),
    _known(
        "module-kind",
        r"ERR_REQUIRE_ESM|Cannot use import statement|require is not defined in ES module",
        "ES modules and CommonJS are mixed up",
        'set "type" in package.json, or name the file .mjs or .cjs',
    ),
    _known(
        "file-kind",
        r"ERR_UNKNOWN_FILE_EXTENSION",
        "Node can't run this kind of file",
        "compile it first (tsc), or use an interpreter that can: ood config -a {app} -s "
        "interpreter tsx",
    ),
    _known(
        "not-allowed",
        r"EACCES|EPERM",
        "the system did not let it: permission denied",
        "which user does it run as (ood config -a {app} -g user), and may that user do it?",
    ),
    _known(
        "no-file",
        r"ENOENT: [^,]*, \w+ '([^']+)'|ENOENT",
        "a file is not there",
        "paths count from {cwd}; is it part of the release?",
    ),
    _known(
        "refused",
        r"ECONNREFUSED (\S+)|ECONNREFUSED",
        "what it needs refuses connections",
        "start that service first; an app of ood's can wait for another: ood config -a {app} -s "
        "dependsOn NAME",
    ),
    _known(
        "no-host",
        r"(?:ENOTFOUND|EAI_AGAIN) (\S+)|ENOTFOUND|EAI_AGAIN",
        "a host name could not be looked up",
        "is the name right, and does DNS work on this machine? (getent hosts NAME)",
    ),
    _known(
        "disk-full",
        r"ENOSPC",
        "there is no room on the disk, or no watch left",
        "df -h; for watches: sysctl fs.inotify.max_user_watches",
    ),
    _known(
        "too-many-files",
        r"EMFILE|ENFILE",
        "it had too many files or connections open",
        "look for what is never closed; the limit: ulimit -n",
    ),
    _known(
        "reset",
        r"ECONNRESET|EPIPE|ETIMEDOUT",
        "a connection broke, and nothing listens to its errors",
        "listen to 'error' on every socket, request and stream",
    ),
    _known(
        "openssl",
        r"ERR_OSSL_EVP_UNSUPPORTED",
        "it uses a cipher or hash that OpenSSL 3 has switched off",
        "update what uses it; meanwhile: ood config -a {app} -s nodeArgs --openssl-legacy-provider",
    ),
    _known(
        "rejection",
        r"ERR_UNHANDLED_REJECTION",
        "a promise was rejected, and nothing handled it",
        "await it in a try block, or give it a catch()",
    ),
    _known(
        "bad-option",
        r"(?:^|\n)\S*node\S*: (?:bad option: )?(.*(?:option|argument|NODE_OPTIONS).*)",
        "Node refused an option",
        "see: ood config -a {app} -g nodeArgs",
        anywhere=True,
    ),
)
"""The first that fits counts."""


@dataclass(frozen=True)
class Status:
    """What an exit status means."""

    kind: str
    text: str
    advice: str = ""


def _killed(number: int, name: str) -> Status:
    text = f"a shell or launcher says that {name} killed what it had started"
    return Status("killed" if number != 6 else "abort", text)


STATUSES: Mapping[int, Status] = {
    0: Status(
        "ended",
        "it ended by itself: nothing was left to do, or it called process.exit()",
        "a server stays as long as it listens; is the right script run (ood config -a {app} -g "
        "script)?",
    ),
    5: Status("native", "V8 met an error that it can't go on from"),
    7: Status(
        "exception",
        "so Node ends when an app's own handler of uncaught exceptions throws one; or the app "
        "chose that status itself",
    ),
    9: Status("bad-option", "Node refused an option", "see: ood config -a {app} -g nodeArgs"),
    13: Status(
        "unsettled",
        "a top-level await waits for a promise that nothing will ever settle",
        "look at what the script awaits",
    ),
    126: Status(
        "not-allowed",
        "what it runs may not be executed",
        "the last lines name it: chmod +x it, and let the app's user enter each directory above it",
    ),
    127: Status(
        "no-command",
        "a command that it runs was not found",
        "install it, or add its directory to PATH: ood config -a {app} -s env.PATH ...",
    ),
    134: _killed(6, "SIGABRT"),
    137: _killed(9, "SIGKILL"),
    139: _killed(11, "SIGSEGV"),
    143: _killed(15, "SIGTERM"),
}
"""Exit statuses with a meaning of their own."""
