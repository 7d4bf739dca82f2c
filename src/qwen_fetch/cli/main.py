"""The command: one routine per mode."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.door import one_line, say
from qwen_fetch.base.events import Phase
from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.units import size_text
from qwen_fetch.cli.boundary import attended, command, print_json
from qwen_fetch.cli.options import check, lightning_of, make_parser, settings_of
from qwen_fetch.cli.terminal import Terminal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from qwen_fetch.base.events import Event, Listener
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.cache.store import Leftover, LeftoverKind
    from qwen_fetch.transfer.plan import Plan

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return command(make_parser(), _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    check(arguments)
    settings = settings_of(arguments)
    try:
        if arguments.status_only:
            return _status(settings, arguments)
        if arguments.cleanup:
            return _cleanup(settings, arguments)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        from qwen_fetch.diagnosis.translate import problem_of  # noqa: PLC0415 - these two are to start in no time

        raise problem_of(error, settings) from error

    def body(emit: Listener, tick: Callable[[], None]) -> int:
        if arguments.diagnose:
            return _diagnose(settings, arguments, tick)
        if arguments.self_test:
            from qwen_fetch.routines.selftest import self_test  # noqa: PLC0415

            return self_test(settings, tick)
        if arguments.check_load:
            return _check_load(settings, arguments, emit, tick)
        if arguments.verify:
            return _verify(settings, arguments, emit, tick)
        return _download(settings, arguments, emit, tick)

    _fetch_lightning(settings, arguments)
    return attended(settings, arguments, body)


def _download(settings: Settings, arguments: argparse.Namespace, emit: Listener, tick: Callable[[], None]) -> int:
    from qwen_fetch.cli.summary import next_lines, summary_lines  # noqa: PLC0415
    from qwen_fetch.cli.tally import Tally  # noqa: PLC0415
    from qwen_fetch.routines.download import Download  # noqa: PLC0415

    tally = Tally()

    def count(event: Event) -> None:
        tally.take(event, time.monotonic())
        emit(event)

    job = Download(settings, count, tick, resume=not arguments.no_resume, force=arguments.force)
    if arguments.dry_run:
        from qwen_fetch.routines.report import make_report  # noqa: PLC0415

        listed, plan = job.plan()
        emit(Phase("done"))
        if arguments.json:
            print_json(make_report(settings, job.store, listed, [step.file for step in plan.steps]).as_json())
        else:
            _say_plan(plan)
        return ExitCode.DONE
    result = job.run()
    emit(Phase("done"))
    if arguments.json:
        print_json(result.as_json())
        return ExitCode.DONE
    told = not arguments.quiet and arguments.progress != "json"
    terminal = Terminal.of(sys.stderr)
    if told:
        terminal.say(terminal.fitted("\n".join(summary_lines(result, tally))), "green")
    say(result.snapshot_path)
    if told:
        say("\n".join(next_lines(result, settings.command("--check-load"))), file=sys.stderr)
    return ExitCode.DONE


def _fetch_lightning(settings: Settings, arguments: argparse.Namespace) -> None:
    """The LoRA that was wished for beside the model; stdout stays the model's."""
    if not arguments.with_lightning:
        return
    lightning = lightning_of(settings, arguments.with_lightning)

    def body(emit: Listener, tick: Callable[[], None]) -> int:
        from qwen_fetch.routines.download import Download  # noqa: PLC0415 - see above

        job = Download(lightning, emit, tick, resume=not arguments.no_resume, force=arguments.force)
        if arguments.dry_run:
            _, plan = job.plan()
            emit(Phase("done"))
            if not arguments.json:
                _say_plan(plan)
            return ExitCode.DONE
        result = job.run()
        emit(Phase("done"))
        if not arguments.quiet and arguments.progress != "json":
            say(f"✓ {result.report.files[-1].path}, {size_text(result.report.bytes_total)}", file=sys.stderr)
        return ExitCode.DONE

    attended(lightning, arguments, body)


def _say_plan(plan: Plan) -> None:
    for step in plan.steps:
        say(f"{step.action:<8} {size_text(step.file.size - step.have):>9}  {step.file.path}")
    where = "on this machine" if plan.bytes_to_adopt else "here"
    say(f"{size_text(plan.bytes_have)} {where}, {size_text(plan.bytes_to_fetch)} to fetch.")


def _check_load(settings: Settings, arguments: argparse.Namespace, emit: Listener, tick: Callable[[], None]) -> int:
    from qwen_fetch.routines.check_load import check_load  # noqa: PLC0415

    found = check_load(settings, emit, tick)
    emit(Phase("done"))
    if arguments.json:
        print_json(found.as_json())
    else:
        say("\n".join(found.lines()))
    return ExitCode.DONE


def _diagnose(settings: Settings, arguments: argparse.Namespace, tick: Callable[[], None]) -> int:
    from qwen_fetch.routines.diagnose import diagnose  # noqa: PLC0415

    if not arguments.quiet:
        say(f"Looking at the way to {settings.host} (some ten seconds at most) ...", file=sys.stderr)
    rows, problem = diagnose(settings, tick)
    if arguments.json:
        print_json({"findings": dict(rows), "problem": problem.as_json() if problem else None})
    else:
        for name, text in rows:
            say(f"{name:<16} {text}")
    if problem is not None:
        arguments.json = False  # told above
        raise problem
    if not arguments.json:
        say("Nothing is wrong on the way.")
    return ExitCode.DONE


def _status(settings: Settings, arguments: argparse.Namespace) -> int:
    from qwen_fetch.routines.status import status, status_lines  # noqa: PLC0415 - see above

    report = status(settings)
    if arguments.json:
        print_json(report.as_json())
    else:
        columns = Terminal.of(sys.stdout).size()[0]
        say("\n".join(status_lines(report, settings.command(), everything=arguments.verbose, columns=columns)))
    return ExitCode.DONE if report.complete else ExitCode.INCOMPLETE


def _verify(settings: Settings, arguments: argparse.Namespace, emit: Listener, tick: Callable[[], None]) -> int:
    from qwen_fetch.routines.report import FileState  # noqa: PLC0415
    from qwen_fetch.routines.verify import verify  # noqa: PLC0415

    report = verify(settings, emit, tick, again=arguments.force)
    emit(Phase("done"))
    problem = None
    if wrong := report.in_state(FileState.CORRUPT):
        problem = Problem(
            catalogue.VERIFY_FAILED,
            count=len(wrong),
            total=len(report.files),
            paths=", ".join(file.path for file in wrong),
            command=settings.command(),
        )
    elif not report.complete:
        missing = [file for file in report.files if file.state is not FileState.COMPLETE]
        problem = Problem(
            catalogue.NOT_COMPLETE, missing=len(missing), total=len(report.files), command=settings.command()
        )
    if arguments.json:
        print_json(report.as_json() | ({"error": problem.as_json()} if problem else {}))
        arguments.json = False  # stdout has its one object
    else:
        for file in report.files:
            reason = f": {file.reason}" if file.reason else ""
            state = "verified" if file.verified and file.state is FileState.COMPLETE else file.state
            say(f"{state:<9} {size_text(file.size):>9}  {file.path}{reason}")
        verified = [file for file in report.files if file.verified]
        say(f"{len(verified)} of {len(report.files)} files verified, {size_text(sum(f.size for f in verified))}.")
    if problem:
        raise problem
    return ExitCode.DONE


def _cleanup(settings: Settings, arguments: argparse.Namespace) -> int:
    from qwen_fetch.routines.cleanup import WHY, Cleanup, cleanup, find, find_xet  # noqa: PLC0415 - see above

    found = find(settings) + (list(find_xet()) if arguments.xet_cache else [])
    done = Cleanup(removed=(), held=())
    if not arguments.dry_run:
        if not arguments.yes and not _may_remove(found):
            say("Nothing was removed.", file=sys.stderr)
            return ExitCode.DONE
        done = cleanup(settings, found)
    if arguments.json:
        print_json(
            {
                "found": [{"path": str(one.path), "bytes": one.bytes, "kind": one.kind} for one in found],
                "removed": [str(leftover.path) for leftover in done.removed],
                "held": [str(leftover.path) for leftover in done.held],
                "bytes_freed": done.bytes_freed,
            }
        )
        return ExitCode.DONE
    _print_leftovers("would remove", found if arguments.dry_run else (), WHY)
    _print_leftovers("removed", done.removed, WHY)
    _print_leftovers("in use, kept", done.held, {})
    say(f"{size_text(done.bytes_freed)} freed.")
    return ExitCode.DONE


def _may_remove(found: Sequence[Leftover]) -> bool:
    """Ask, on a terminal, before work is thrown away."""
    partial = sum(leftover.bytes for leftover in found if leftover.kind == "partial")
    if not partial or not sys.stdin.isatty() or not sys.stderr.isatty():
        return True
    say(f"{size_text(partial)} of unfinished downloads would have to be fetched again.", file=sys.stderr)
    say("Remove them? [y/N] ", end="", file=sys.stderr)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _print_leftovers(what: str, leftovers: Sequence[Leftover], why: Mapping[LeftoverKind, str]) -> None:
    for one in leftovers:
        reason = f"  ({why[one.kind]})" if one.kind in why else ""
        say(f"{what:<13} {one.kind:<9} {size_text(one.bytes):>9}  {one_line(str(one.path), 1000)}{reason}")
