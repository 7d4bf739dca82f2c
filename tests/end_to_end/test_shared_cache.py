"""Two users of one machine share a cache: as far as the folder lets them, and else with one clear line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from workbench import Tool

from qwen_fetch.base.problem import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench import OpenHub

pytestmark = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can play two users")
GROUP = 5000
PROGRAM = [sys.executable, "-m", "qwen_fetch", "--progress", "off"]


def as_user(number: int, umask: int, tool: Tool, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = tool.home.parent / f"user-{number}"
    home.mkdir(exist_ok=True)
    home.chmod(0o777)
    return subprocess.run(
        [*PROGRAM, "--cache-dir", str(tool.cache), *arguments],
        env=tool.environment | {"HOME": str(home), "HF_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        user=number,
        group=GROUP,
        extra_groups=[],
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def shared(open_hub: OpenHub, small_repo: Path) -> Iterator[Tool]:
    """A cache in a folder of a group, in a place of its own: pytest's folders are closed to other users."""
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        tool = Tool(Path(place, "hf"), open_hub(small_repo).endpoint)
        tool.cache.mkdir(parents=True)
        shutil.chown(tool.cache, group=GROUP)
        tool.cache.chmod(0o2775)
        try:
            reached = as_user(1001, 0o002, tool, "--status-only").returncode == ExitCode.INCOMPLETE
        except PermissionError:
            reached = False
        if not reached:
            pytest.skip("another user cannot run this Python, or reach the folder for temporary files")
        yield tool


def test_where_the_group_may_write_each_goes_on_with_the_others_work(shared: Tool, small_repo: Path) -> None:
    first = as_user(1001, 0o002, shared, "--selective", "*.json", "vae/*")
    assert first.returncode == 0, first
    second = as_user(1002, 0o002, shared)
    assert second.returncode == 0, second
    assert shared.tree_is(small_repo)
    made = [path for path in shared.cache.rglob("*") if not path.is_symlink()]
    assert {path.stat().st_gid for path in made} == {GROUP}
    assert all(path.stat().st_mode & 0o020 for path in made), "the group could not go on with it"
    assert as_user(1001, 0o002, shared).returncode == 0


def test_where_it_may_not_one_line_says_whom_to_ask(shared: Tool) -> None:
    assert as_user(1001, 0o022, shared, "--selective", "*.json").returncode == 0
    refused = as_user(1002, 0o022, shared)
    assert refused.returncode == 8
    assert f"{shared.folder} is closed to this user" in refused.stderr
    assert f"chmod -R g+rwX {shared.folder}" in refused.stderr
    whole = as_user(1002, 0o022, shared, "--selective", "*.json")
    assert whole.returncode == 0, "what is there whole can be used without writing"
