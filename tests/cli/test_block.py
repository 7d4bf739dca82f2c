"""Errors, the end by Ctrl-C and the summary as they are seen on a terminal; frames as in `test_screen`."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from glass import Glass

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.cli.block import tell
from qwen_fetch.cli.summary import next_lines, summary_lines
from qwen_fetch.cli.tally import Tally
from qwen_fetch.cli.terminal import Terminal
from qwen_fetch.routines.download import Result
from qwen_fetch.routines.report import FileReport, FileState, Report
from qwen_fetch.routines.status import status_lines

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = Path(__file__).with_name("frames")
KEPT = "28.3 GB of 57.7 GB, in /data/hub"
COMMAND = "qwen-fetch --cache-dir /data/hub"
REFUSED = Problem(
    catalogue.NETWORK,
    kept=KEPT,
    host="huggingface.co",
    detail="connection refused",
    diagnose=f"See what is wrong on the way: `{COMMAND} --diagnose`",
)
NO_ROOM = Problem(
    catalogue.NO_ROOM,
    kept="Nothing was changed.",
    needed="45.6 GB",
    path="/data/hub",
    free="31.0 GB",
    short="14.7 GB",
    largest="The largest in this cache: someone/large 64.2 GB, other/model 24.1 GB.",
    cleanup=f"{COMMAND} --cleanup",
    set_home="export HF_HOME=/path/on/a/larger/disk",
)
STOPPED = Problem(catalogue.INTERRUPTED, kept=KEPT, command=COMMAND)
LISTED = Problem(catalogue.NO_MATCH, repo_id="a/b", patterns="*.txt", listing="         vae/x\n         vae/y")


def error(terminal: Terminal) -> None:
    tell(REFUSED, terminal)


def room(terminal: Terminal) -> None:
    tell(NO_ROOM, terminal)


def stopped(terminal: Terminal) -> None:
    tell(STOPPED, terminal)


def listed(terminal: Terminal) -> None:
    tell(LISTED, terminal)


def summary(terminal: Terminal) -> None:
    file = FileReport("a", 57_700_000_000, FileState.COMPLETE, 57_700_000_000, verified=True)
    report = Report("Qwen/Qwen-Image-Edit", "main", "c0", "/data/hub", (file,), (), 10**12)
    result = Result(report, 45_600_000_000, 12_100_000_000, 0, 5700.0, "/data/hub/snapshots/c0")
    lines = summary_lines(result, Tally(reconnects=2, outages=[300.0, 1500.0]))
    terminal.say(terminal.fitted("\n".join(lines)), "green")
    terminal.say("\n".join(next_lines(result, f"{COMMAND} --check-load")))


def status(terminal: Terminal) -> None:
    states = {
        "vae/x": (FileState.COMPLETE, 254),
        "transformer/1": (FileState.PARTIAL, 2000),
        "transformer/2": (FileState.MISSING, 0),
    }
    sizes = {"vae/x": 254, "transformer/1": 4900, "transformer/2": 5000}
    files = tuple(
        FileReport(path, 10**6 * sizes[path], state, 10**6 * here, None) for path, (state, here) in states.items()
    )
    small = tuple(
        FileReport(f"{name}/config.json", 500, FileState.COMPLETE, 500, None) for name in ("scheduler", "processor")
    )
    report = Report("Qwen/Qwen-Image-Edit", "main", "c0ffee00", "/data/hub", (*files, *small), (), 10**12)
    terminal.say("\n".join(status_lines(report, COMMAND, columns=terminal.size()[0])))


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("scene", [error, room, stopped, listed, summary, status])
def test_it_is_as_drawn(
    scene: Callable[[Terminal], None], columns: int, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    glass = Glass(monkeypatch, columns)
    scene(Terminal.of(glass))
    path = FRAMES / f"{scene.__name__}-{columns}.txt"
    if request.config.getoption("--draw"):
        path.write_text(glass.text, encoding="utf-8")
    assert glass.text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_only_commands_are_longer_than_the_screen_is_wide(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    glass = Glass(monkeypatch, columns)
    for problem in (REFUSED, NO_ROOM, STOPPED):
        tell(problem, Terminal.of(glass))
    lines = re.sub("\x1b\\[[0-9;]*m", "", "".join(glass.written)).splitlines()
    commands = {command for problem in (REFUSED, NO_ROOM, STOPPED) for _, command in problem.steps if command}
    assert all(len(line) < columns or any(command in line for command in commands) for line in lines)
    assert {line.strip() for line in lines} >= commands - {COMMAND}
    assert sum(line.endswith(COMMAND) for line in lines) == 1


def test_in_a_log_it_is_a_line_for_each_part() -> None:
    log = io.StringIO()
    tell(REFUSED, Terminal.of(log))
    assert log.getvalue().splitlines() == REFUSED.lines()
    assert f"  do:   See what is wrong on the way: {COMMAND} --diagnose" in REFUSED.lines()


def test_red_once_and_only_for_what_nobody_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for problem, count in ((REFUSED, 1), (STOPPED, 0)):
        glass = Glass(monkeypatch)
        tell(problem, Terminal.of(glass))
        assert "".join(glass.written).count("\x1b[31m") == count
    monkeypatch.setenv("FORCE_COLOR", "1")  # a log that shows colours
    log = io.StringIO()
    tell(REFUSED, Terminal.of(log))
    assert log.getvalue().startswith("\x1b[31merror:\x1b[0m")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Terminal.of(log).colour


def test_without_a_console_nothing_is_told_and_nothing_fails() -> None:
    tell(REFUSED, Terminal.of(None))
    closed = io.StringIO()
    closed.close()
    assert not Terminal.of(closed).is_terminal


def test_a_command_that_nobody_knows_leaves_the_sentence() -> None:
    problem = Problem(
        catalogue.NOT_ALLOWED, path="/x", detail="refused", owner="It is so.", advice="Make it writable", remedy=""
    )
    assert problem.steps[0] == ("Make it writable.", "")
