"""Around every command: one place where errors become messages and exit codes, and signals become an orderly end."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.door import say
from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.shell import quoted
from qwen_fetch.base.units import size_text
from qwen_fetch.cli.block import tell
from qwen_fetch.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_fetch.base.events import Event, Listener
    from qwen_fetch.base.problem import Kind
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.cli.journal import Journal

__all__ = ["attended", "command", "print_json"]


def command(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int], argv: Sequence[str] | None
) -> int:
    """Run a command and show what went wrong; returns the exit code.

    Args:
        parser: Its options; `verbose` and `json` are looked at here.
        run: What it does, given the options.
        argv: The words after the program's name; None: of this process.
    """
    arguments = argparse.Namespace(verbose=False, json=False)
    _open_what_is_closed()
    try:
        _on_signals(_raise)  # what is answered at once may be left anywhere
        arguments = parser.parse_args(argv)
        code = run(arguments)
        sys.stdout.flush()
    except Problem as problem:
        code = _tell(problem, arguments)
    except ModuleNotFoundError as error:
        missing = Problem(catalogue.NOT_INSTALLED, package=error.name, python=sys.executable or "python")
        code = _tell(missing, arguments)
    except _Stopped as stopped:
        code = _tell(Problem(_kind_of(stopped.number), command=" ".join(map(quoted, sys.argv))), arguments)
    except BrokenPipeError:  # the reader of our stdout has gone; it knows why
        code = ExitCode.UNEXPECTED
    if code in {ExitCode.INTERRUPTED, ExitCode.TERMINATED}:
        # The Hub client's pools would be waited for, and they finish their files first.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    if argv is None:  # the process ends now, and all is told: a signal that comes too late is not to say otherwise
        _on_signals(signal.SIG_IGN)
    gc.freeze()  # the interpreter's last search for garbage takes 0.03 s, and the process ends anyway
    return code


def attended(
    settings: Settings,
    arguments: argparse.Namespace,
    body: Callable[[Listener, Callable[[], None]], int],
) -> int:
    """Run what takes a while: shown, logged, to be stopped by a signal, its exceptions told as problems.

    Args:
        settings: What it is about.
        arguments: `quiet`, `progress` and, if the command has it, `log` are looked at here.
        body: The work, given where its events go and a tick to be called several times a second.
    """
    from qwen_fetch.base.events import Note  # noqa: PLC0415
    from qwen_fetch.cli.progress import Display  # noqa: PLC0415
    from qwen_fetch.diagnosis.translate import problem_of  # noqa: PLC0415 - the other modes are to start in no time

    stop = _Stop()
    display = Display("off" if arguments.quiet else arguments.progress, verbose=arguments.verbose)
    journal = _journal(getattr(arguments, "log", None))

    def emit(event: Event) -> None:
        nonlocal journal
        display(event)
        if journal is not None:
            try:
                journal(event)
            except OSError as error:  # its disk is full: what is worth more is the work
                journal = None
                display(Note(f"--log: {(error.strerror or str(error)).lower()}; going on without it"))

    try:
        return body(emit, stop.tick)
    except BrokenPipeError:
        raise
    except (Exception, _Stopped) as error:
        problem = _interruption(settings, error.number) if isinstance(error, _Stopped) else problem_of(error, settings)
        if journal is not None:
            with suppress(OSError):
                journal.problem(problem)
        raise problem from error
    finally:
        display.close()
        if journal is not None:
            with suppress(OSError):
                journal.close()


def print_json(values: dict[str, Any]) -> None:
    """Print a result for programs."""
    say(json.dumps(values, indent=2))


class _Stopped(BaseException):
    """A signal asked the run to end: the user's wish, and no error that anybody may catch and go on."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Stop:
    """Turns Ctrl-C and SIGTERM into the end of the run at the next tick; the second one ends the process at once."""

    def __init__(self) -> None:
        self._signal = 0
        _on_signals(self._handle)

    def _handle(self, number: int, _frame: object) -> None:
        if self._signal:
            os._exit(128 + number)
        self._signal = number

    def tick(self) -> None:
        if self._signal:
            raise _Stopped(self._signal)


def _on_signals(handler: Callable[[int, object], None] | signal.Handlers) -> None:
    """Have the signals that end a program handled; one that our parent ignores (nohup) stays ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):  # Ctrl-Break, on Windows
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _raise(number: int, _frame: object) -> None:
    raise _Stopped(number)


def _kind_of(number: int) -> Kind:
    return catalogue.TERMINATED if number == signal.SIGTERM else catalogue.INTERRUPTED


def _journal(path: Path | None) -> Journal | None:
    if path is None:
        return None
    from qwen_fetch.cli.journal import Journal  # noqa: PLC0415 - only when it is wanted

    try:
        return Journal(path)
    except OSError as error:
        detail = f"--log: {path} cannot be written ({(error.strerror or str(error)).lower()})."
        raise Problem(catalogue.USAGE, detail=detail) from error


def _interruption(settings: Settings, number: int) -> Problem:
    """What a signal ended, and what is kept."""
    from qwen_fetch.cache.store import Store  # noqa: PLC0415
    from qwen_fetch.cli.wording import home_text  # noqa: PLC0415
    from qwen_fetch.listing import snapshot  # noqa: PLC0415
    from qwen_fetch.listing.cached import cached  # noqa: PLC0415
    from qwen_fetch.routines.report import make_report  # noqa: PLC0415

    kept = ""
    with suppress(Problem, OSError):  # what cannot be told now is no reason not to end
        store = Store.open(settings.hub_cache, settings.repo_id)
        if known := cached(settings, store):
            wanted = snapshot.select(known, settings.include, settings.exclude)
            report = make_report(settings, store, known, wanted)
            here = report.bytes_present + report.bytes_partial
            kept = f"{size_text(here)} of {size_text(report.bytes_total)}, in {home_text(report.cache_dir)}"
    return Problem(_kind_of(number), kept=kept, command=settings.command())


def _open_what_is_closed() -> None:
    """Have a stream for what nobody wants to see (``>&-``); or the next file that is opened would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as we live


def _tell(problem: Problem, arguments: argparse.Namespace) -> int:
    """Show a problem: prose on stderr, and with `--json` an object on stdout."""
    if arguments.verbose and problem.exit_code is not ExitCode.USAGE:
        import traceback  # noqa: PLC0415

        say("".join(traceback.format_exception(problem)), file=sys.stderr, end="")
    tell(problem, Terminal.of(sys.stderr))
    if arguments.json:
        print_json({"error": problem.as_json()})
    return problem.exit_code
