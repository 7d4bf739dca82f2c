"""A machine is held awake while bytes move, and let go afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from qwen_fetch.base.awake import holder_of, kept_awake

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="scripts stand in for the system's commands")
NAME = holder_of(sys.platform, 1)[0] if holder_of(sys.platform, 1) else ""


def until(path: Path, *, there: bool) -> bool:
    end = time.monotonic() + 10
    while path.exists() != there and time.monotonic() < end:
        time.sleep(0.01)
    return path.exists() == there


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """There while the stand-in for the system's command runs; it takes the words that the real one gets."""
    mark = tmp_path / "held"
    script = tmp_path / NAME
    script.write_text(f'#!/bin/sh\ntrap "rm -f {mark}; exit" TERM\necho "$@" >{mark}\ncat >/dev/null\nrm -f {mark}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return mark


@pytest.mark.skipif(not NAME, reason="this system has no such command")
def test_it_is_held_and_let_go(held: Path) -> None:
    with kept_awake(after=0.0):
        assert until(held, there=True)
    assert until(held, there=False)


@pytest.mark.skipif(not NAME, reason="this system has no such command")
def test_a_short_run_and_who_does_not_want_it_hold_nothing(held: Path) -> None:
    with kept_awake(after=5.0), kept_awake(wanted=False, after=0.0):
        time.sleep(0.2)
        assert not held.exists()


@pytest.mark.skipif(not NAME or sys.platform == "darwin", reason="caffeinate looks after the process itself")
def test_a_process_that_is_killed_lets_go(held: Path) -> None:
    program = "import time\nfrom qwen_fetch.base.awake import kept_awake\nwith kept_awake(after=0.0): time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        assert until(held, there=True)
        process.kill()
    assert until(held, there=False)


def test_a_system_without_a_command_is_left_alone() -> None:
    assert holder_of("freebsd14", 1) == ()
    assert holder_of("darwin", 7) == ("caffeinate", "-i", "-w", "7")
