"""The command line: options to settings, one routine per mode, one place where errors become messages."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from qwen_fetch import __version__, errors
from qwen_fetch.errors import ExitCode, Problem
from qwen_fetch.settings import DEFAULT_REPO, Settings
from qwen_fetch.units import parse_bytes, size_text, time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_fetch.progress import Display
    from qwen_fetch.report import Report
    from qwen_fetch.store import Leftover

__all__ = ["main"]

N = TypeVar("N", int, float)


class _Parser(argparse.ArgumentParser):
    """Bad input gets one clear line, and exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise Problem(errors.USAGE, detail=message[:1].upper() + message[1:] + ".")


class _Stop:
    """Turns Ctrl-C and SIGTERM into a problem at the next tick; the second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self._signal = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: object) -> None:
        if self._signal:
            os._exit(128 + number)
        self._signal = number

    def tick(self) -> None:
        if self._signal:
            raise _Stopped(self._signal)


class _Stopped(Exception):  # noqa: N818 - the user's wish, not an error
    """A signal asked the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def make_parser() -> argparse.ArgumentParser:
    """The options, as `--help` shows them."""
    parser = _Parser(
        prog=None if sys.argv[0].endswith(".py") and "__main__" not in sys.argv[0] else "qwen-fetch",
        description=f"Bring {DEFAULT_REPO} (57.7 GB), or any model of the Hub, into the Hugging Face cache, "
        "over a line that breaks. Run it again after any interruption: it goes on at the byte where it stopped.",
        epilog="Exit codes: 0 done, 1 unexpected, 2 usage, 3 not complete, 4 network, 5 access, 6 not found, 7 disk "
        "full, 8 file system, 9 corrupt content, 10 busy, 11 cannot load here, 130 Ctrl-C, 143 SIGTERM.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"qwen-fetch {__version__}")
    modes = parser.add_argument_group("what to do (default: download, and resume what was begun)")
    modes.add_argument("--status-only", action="store_true", help="what is here, what is missing; works offline")
    modes.add_argument("--verify", action="store_true", help="read everything and compare it with the Hub's digests")
    modes.add_argument("--cleanup", action="store_true", help="remove partial files, orphans and stale locks")
    modes.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    modes.add_argument("--check-load", action="store_true", help="prove that it can be loaded here, and say how")
    modes.add_argument("--self-test", action="store_true", help="try the whole job on a small Hub inside this machine")
    modes.add_argument("--resume", action="store_true", help="go on with partial files (the default)")
    modes.add_argument("--no-resume", action="store_true", help="throw partial files away and start them again")
    modes.add_argument("--force", action="store_true", help="fetch again even what is complete")
    modes.add_argument("--yes", action="store_true", help="do not ask before partial files are removed")
    what = parser.add_argument_group("what to fetch, and where to")
    what.add_argument("--repo-id", default=DEFAULT_REPO, metavar="OWNER/NAME", help="default: %(default)s")
    what.add_argument("--revision", default="main", help="branch, tag or commit (default: %(default)s)")
    what.add_argument("--selective", nargs="+", action="extend", default=[], metavar="PATTERN", help="only these files")
    what.add_argument("--exclude", nargs="+", action="extend", default=[], metavar="PATTERN", help="not these files")
    what.add_argument("--cache-dir", type=Path, metavar="DIR", help="default: what HF_HUB_CACHE or HF_HOME says")
    what.add_argument("--endpoint", metavar="URL", help="default: what HF_ENDPOINT says, or https://huggingface.co")
    what.add_argument("--token", help="default: what HF_TOKEN or `hf auth login` says")
    line = parser.add_argument_group("the line")
    line.add_argument("--max-workers", type=_whole, default=4, metavar="N", help="connections (default: %(default)s)")
    line.add_argument(
        "--transport",
        default="auto",
        metavar="auto|xet|http",
        help="auto: Xet where the file has it, HTTP otherwise, and the other one when one fails",
    )
    line.add_argument("--timeout", type=_seconds, default=15, metavar="S", help="to connect (default: %(default)s)")
    line.add_argument(
        "--stall-timeout",
        type=_seconds,
        default=30,
        metavar="S",
        help="no byte for so long is a stall (%(default)s)",
    )
    line.add_argument(
        "--max-retries",
        type=_whole,
        default=10,
        metavar="N",
        help="tries in a row without a new byte (%(default)s)",
    )
    line.add_argument("--limit-rate", type=_bytes, metavar="BYTES", help="per second in all, such as 20M")
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--json", action="store_true", help="the result as one JSON object on stdout")
    shown.add_argument(
        "--progress",
        default="auto",
        choices=["auto", "bar", "plain", "json", "off"],
        help="how progress is shown",
    )
    shown.add_argument("-q", "--quiet", action="store_true", help="nothing but errors and the result")
    shown.add_argument("-v", "--verbose", action="store_true", help="errors with a traceback")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = argparse.Namespace(verbose=False, json=False)
    try:
        arguments = make_parser().parse_args(argv)
        code = _run(arguments)
        sys.stdout.flush()
    except Problem as problem:
        code = _tell(problem, arguments)
    except BrokenPipeError:  # the reader of our stdout has gone; it knows why
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.UNEXPECTED
    if code in {ExitCode.INTERRUPTED, ExitCode.TERMINATED}:
        # The Hub client's pools would be waited for, and they finish their files first.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    return code


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    settings = Settings(
        repo_id=arguments.repo_id,
        revision=arguments.revision,
        cache_dir=arguments.cache_dir,
        endpoint=arguments.endpoint,
        token=arguments.token,
        include=tuple(arguments.selective),
        exclude=tuple(arguments.exclude),
        max_workers=arguments.max_workers,
        transport=arguments.transport,
        timeout=arguments.timeout,
        stall_timeout=arguments.stall_timeout,
        max_retries=arguments.max_retries,
        limit_rate=arguments.limit_rate,
    )
    if arguments.status_only:
        return _status(settings, arguments)
    if arguments.cleanup:
        return _cleanup(settings, arguments)
    from qwen_fetch.diagnosis import problem_of  # noqa: PLC0415 - the modes above are to start in no time
    from qwen_fetch.progress import Display  # noqa: PLC0415

    stop = _Stop()
    display = Display("off" if arguments.quiet else arguments.progress)
    try:
        if arguments.self_test:
            from qwen_fetch.selftest import self_test  # noqa: PLC0415

            return self_test(stop.tick)
        if arguments.check_load:
            return _check_load(settings, arguments, display, stop)
        if arguments.verify:
            return _verify(settings, arguments, display, stop)
        return _download(settings, arguments, display, stop)
    except _Stopped as stopped:
        raise _interruption(settings, stopped.number) from stopped
    except Exception as error:
        raise problem_of(error, settings) from error
    finally:
        display.close()


def _download(settings: Settings, arguments: argparse.Namespace, display: Display, stop: _Stop) -> int:
    from qwen_fetch.download import Download  # noqa: PLC0415

    job = Download(settings, display, stop.tick, resume=not arguments.no_resume, force=arguments.force)
    if arguments.dry_run:
        from qwen_fetch.report import make_report  # noqa: PLC0415

        listed, plan = job.plan()
        display.close()
        if arguments.json:
            _print_json(make_report(settings, job.store, listed, [step.file for step in plan.steps]).as_json())
        else:
            for step in plan.steps:
                print(f"{step.action:<8} {size_text(step.file.size - step.have):>9}  {step.file.path}")
            print(f"{size_text(plan.bytes_to_fetch)} to fetch, {size_text(plan.bytes_have)} here.")
        return ExitCode.DONE
    result = job.run()
    display.close()
    if arguments.json:
        _print_json(result.as_json())
    else:
        print(result.snapshot_path)
        if not arguments.quiet:
            _say_done(result.report, result.bytes_fetched, result.seconds)
    return ExitCode.DONE


def _say_done(report: Report, fetched: int, seconds: float) -> None:
    how = f"{size_text(fetched)} fetched in {time_text(seconds)}" if fetched else "nothing had to be fetched"
    print(
        f"Done: {len(report.files)} files, {size_text(report.bytes_total)}, all here; {how}.\n"
        f"Load it with from_pretrained({report.repo_id!r}, local_files_only=True).",
        file=sys.stderr,
    )


def _status(settings: Settings, arguments: argparse.Namespace) -> int:
    from qwen_fetch.status import status, status_lines  # noqa: PLC0415 - see above

    report = status(settings)
    if arguments.json:
        _print_json(report.as_json())
    else:
        print("\n".join(status_lines(report, settings.command())))
    return ExitCode.DONE if report.complete else ExitCode.INCOMPLETE


def _verify(settings: Settings, arguments: argparse.Namespace, display: Display, stop: _Stop) -> int:
    from qwen_fetch.report import FileState  # noqa: PLC0415
    from qwen_fetch.verify import verify  # noqa: PLC0415

    report = verify(settings, display, stop.tick)
    display.close()
    if arguments.json:
        _print_json(report.as_json())
    else:
        for file in report.files:
            print(f"{'verified' if file.verified else file.state:<9} {size_text(file.size):>9}  {file.path}")
    if wrong := report.in_state(FileState.CORRUPT):
        paths = [file.path for file in wrong]
        again = settings.command("--force", "--selective", *paths)
        raise Problem(
            errors.VERIFY_FAILED,
            count=len(wrong),
            total=len(report.files),
            paths=", ".join(paths),
            command=again,
        )
    if not report.complete:
        missing = [file for file in report.files if file.state is not FileState.COMPLETE]
        raise Problem(errors.NOT_COMPLETE, missing=len(missing), total=len(report.files), command=settings.command())
    return ExitCode.DONE


def _check_load(settings: Settings, arguments: argparse.Namespace, display: Display, stop: _Stop) -> int:
    from qwen_fetch.check_load import check_load  # noqa: PLC0415 - see above

    found = check_load(settings, display, stop.tick)
    display.close()
    if arguments.json:
        _print_json(found.as_json())
    else:
        print("\n".join(found.lines()))
    return ExitCode.DONE


def _cleanup(settings: Settings, arguments: argparse.Namespace) -> int:
    from qwen_fetch.cleanup import Cleanup, cleanup, find  # noqa: PLC0415 - see above
    from qwen_fetch.diagnosis import problem_of  # noqa: PLC0415

    found = find(settings)
    done = Cleanup(removed=(), held=())
    if not arguments.dry_run:
        if not arguments.yes and not _may_remove(found):
            print("Nothing was removed.", file=sys.stderr)
            return ExitCode.DONE
        try:
            done = cleanup(settings)
        except OSError as error:
            raise problem_of(error, settings) from error
    if arguments.json:
        _print_json(
            {
                "found": [{"path": str(one.path), "bytes": one.bytes, "kind": one.kind} for one in found],
                "removed": [str(leftover.path) for leftover in done.removed],
                "held": [str(leftover.path) for leftover in done.held],
                "bytes_freed": done.bytes_freed,
            }
        )
        return ExitCode.DONE
    _print_leftovers("would remove", found if arguments.dry_run else ())
    _print_leftovers("removed", done.removed)
    _print_leftovers("in use, kept", done.held)
    print(f"{size_text(done.bytes_freed)} freed.")
    return ExitCode.DONE


def _may_remove(found: Sequence[Leftover]) -> bool:
    """Ask, on a terminal, before work is thrown away."""
    partial = sum(leftover.bytes for leftover in found if leftover.kind == "partial")
    if not partial or not sys.stdin.isatty() or not sys.stderr.isatty():
        return True
    print(f"{size_text(partial)} of unfinished downloads would have to be fetched again.", file=sys.stderr)
    print("Remove them? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _print_leftovers(what: str, leftovers: Sequence[Leftover]) -> None:
    for leftover in leftovers:
        print(f"{what:<13} {leftover.kind:<8} {size_text(leftover.bytes):>9}  {leftover.path}")


def _interruption(settings: Settings, number: int) -> Problem:
    """What a signal ended, and what is kept."""
    from qwen_fetch import snapshot  # noqa: PLC0415
    from qwen_fetch.report import make_report  # noqa: PLC0415
    from qwen_fetch.store import Store  # noqa: PLC0415

    kept = ""
    store = Store(settings.hub_cache, settings.repo_id)
    if known := snapshot.cached(settings, store):
        wanted = snapshot.select(known, settings.include, settings.exclude)
        report = make_report(settings, store, known, wanted)
        here = report.bytes_present + report.bytes_partial
        kept = f"{size_text(here)} of {size_text(report.bytes_total)}, in {report.cache_dir}"
    kind = errors.INTERRUPTED if number == signal.SIGINT else errors.TERMINATED
    return Problem(kind, kept=kept, command=settings.command())


def _tell(problem: Problem, arguments: argparse.Namespace) -> int:
    """Show a problem: prose on stderr, and with `--json` an object on stdout."""
    if arguments.verbose:
        import traceback  # noqa: PLC0415

        traceback.print_exception(problem)
    with suppress(OSError):
        print("\n".join(problem.lines()), file=sys.stderr)
    if arguments.json:
        _print_json({"error": problem.as_json()})
    return problem.exit_code


def _check(arguments: argparse.Namespace) -> None:
    """Refuse combinations that contradict each other."""
    modes = [
        name for name in ("status_only", "verify", "cleanup", "self_test", "check_load") if getattr(arguments, name)
    ]
    if arguments.dry_run and modes != ["cleanup"]:
        modes.append("dry_run")
    pairs = [modes] if len(modes) > 1 else []
    pairs += [
        list(pair) for pair in (("resume", "no_resume"), ("quiet", "verbose")) if all(map(vars(arguments).get, pair))
    ]
    for names in pairs:
        options = " and ".join("--" + name.replace("_", "-") for name in names[:2])
        raise Problem(errors.USAGE, detail=f"{options} exclude each other.")


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, indent=2))


def _whole(text: str) -> int:
    return _number(text, int, "a whole number")


def _seconds(text: str) -> float:
    return _number(text, float, "a number of seconds")


def _bytes(text: str) -> int:
    return _number(text, parse_bytes, "bytes such as 800K, 20M or 1.5G")


def _number(text: str, convert: Callable[[str], N], what: str) -> N:
    try:
        return convert(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"wants {what}, not {text!r}") from None
