"""The entry of the ``ood`` command: arguments in, exit status out."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Sequence

import click

from ood.cli.commands import all_commands
from ood.cli.completion import VARIABLE
from ood.cli.output import Output
from ood.cli.session import Invocation, NotAsWantedError, StoppedError
from ood.cli.text import one_line, visible
from ood.errors import OodError

DONE, FAILED, USAGE, NOT_AS_WANTED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit statuses; the last one as shells have it for SIGINT."""
NOT_WRITTEN = frozenset((errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF))
"""What writing results can end in, which is no fault of ood."""

ood = all_commands()


def main() -> None:
    """Run the command that the process was started with."""
    home = os.environ.get("OOD_HOME") or None
    _open_closed()
    _write_everything()
    invocation = Invocation(Output(sys.stdout, sys.stderr), home)
    status = run(sys.argv[1:], invocation)
    try:
        sys.stdout.flush()
    except OSError as error:
        status = _not_written(invocation.output, error)
    sys.exit(status)


def _open_closed() -> None:
    """Open what the caller closed (``>&-``): what is written there goes nowhere."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for good
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _write_everything() -> None:
    """Have what the locale can't spell written as ``?``: a log may be in any language."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def run(arguments: Sequence[str], invocation: Invocation) -> int:
    """Run a command; return its exit status."""
    output = invocation.output
    try:
        _check_text(arguments)
        ood.main(
            args=list(arguments),
            prog_name="ood",
            complete_var=VARIABLE,
            standalone_mode=False,
            obj=invocation,
        )
    except click.UsageError as error:
        output.json = output.json or "--json" in arguments  # it may not have been read yet
        _report(output, _misuse(error))
        return USAGE
    except (StoppedError, click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except NotAsWantedError:
        return NOT_AS_WANTED
    except OodError as error:
        _report(output, error)
        return FAILED
    except OSError as error:
        if error.errno in NOT_WRITTEN:
            return _not_written(output, error)
        _report_fault(output, error)
        return FAILED
    except Exception as error:
        _report_fault(output, error)
        return FAILED
    return DONE


def _check_text(arguments: Sequence[str]) -> None:
    """Check that all arguments are text: Python hands on other bytes as lone surrogates.

    :raises click.UsageError: one is not.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"this argument is not UTF-8: {argument!a}") from None


class UsageError(OodError):
    """The command line can't be understood."""

    code = "usage"


def _misuse(error: click.UsageError) -> UsageError:
    """Return the error in our words: one line that says where help is."""
    text = one_line(error.format_message()).removesuffix(".")
    names = "" if error.ctx is None else error.ctx.command_path.removeprefix("ood")
    return UsageError(text[:1].lower() + text[1:], f"see: ood help{names}")


def _report(output: Output, error: OodError) -> None:
    """Write the reason: for people an app's last words, then one line; JSON for programs."""
    log = getattr(error, "log", ())
    if output.json:
        plain = {"code": error.code, "message": error.message, "hint": error.hint}
        plain = getattr(error, "error", plain)
        output.err.write(json.dumps({"error": plain}) + "\n")
        return
    for line in log:
        output.err.write(f"  | {visible(line)}\n")
    output.err.write(f"ood: {one_line(str(error))}\n")


def _report_fault(output: Output, error: Exception) -> None:
    """Write a fault of the command itself, where it can be found."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        file = os.path.basename(trace.tb_frame.f_code.co_filename)
        where = f" at {file}:{trace.tb_lineno}"
    text = one_line(f"{type(error).__name__}: {error}")
    output.err.write(f"ood: this is a fault of ood, please report it: {text}{where}\n")


def _not_written(output: Output, error: OSError) -> int:
    """Say that the results could not be written; not where nobody reads, as in ``| head``."""
    if error.errno != errno.EPIPE:
        output.err.write(f"ood: can't write the results: {error.strerror}\n")
    # what is left in the buffer would make the interpreter complain at its end
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


if __name__ == "__main__":
    main()
