"""What a program is started with: streams that are closed or full, no home folder, few descriptors, odd names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from workbench import TOOL

if TYPE_CHECKING:
    from workbench import OpenHub, Tool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the shell's ways of redirecting")
FULL = Path("/dev/full")


def shell(tool: Tool, words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    line = f"{before} exec {sys.executable} {TOOL} {words}"
    return subprocess.run(
        ["sh", "-c", line], env=tool.environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def connected(tool: Tool, open_hub: OpenHub, tiny_repo: Path) -> Tool:
    tool.endpoint = open_hub(tiny_repo).endpoint
    return tool


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-"])
def test_what_nobody_wants_to_see_is_not_shown(connected: Tool, tiny_repo: Path, closed: str) -> None:
    ended = shell(connected, closed)
    assert ended.returncode == 0, ended
    assert connected.tree_is(tiny_repo)


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [f"2>{FULL}", f"--progress json 2>{FULL}", f"--log {FULL}"])
def test_the_work_is_worth_more_than_its_report(connected: Tool, tiny_repo: Path, words: str) -> None:
    ended = shell(connected, words)
    assert ended.returncode == 0, ended
    assert connected.tree_is(tiny_repo)


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("mode", ["", "--json", "--status-only", "--status-only --json", "--verify", "--diagnose"])
def test_a_result_that_cannot_be_written_is_no_fault_of_the_cache(connected: Tool, tiny_repo: Path, mode: str) -> None:
    assert connected.run().code == 0
    ended = shell(connected, f"{mode} >{FULL}")
    assert ended.returncode == 8, ended
    assert "[output]" in ended.stderr
    assert "disk-full" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert connected.tree_is(tiny_repo)


@pytest.mark.parametrize("number", [6, 9, 12])
def test_too_few_descriptors_are_no_fault_of_the_network(connected: Tool, number: int) -> None:
    ended = shell(connected, "", before=f"ulimit -n {number};")
    assert ended.returncode in {1, 8}, ended
    assert "too many open files" in ended.stderr.lower()
    assert "[network]" not in ended.stderr


@pytest.mark.parametrize("branch", ["fix#7", "分支", "feature/a+b", "v1.0,rc=2", "q&a%20"])
def test_a_revision_is_what_git_calls_one(
    tool: Tool, open_hub: OpenHub, tiny_repo: Path, tmp_path: Path, branch: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text("another")
    hub = open_hub(tiny_repo)
    commit = hub.add_revision(branch, other)
    tool.endpoint = hub.endpoint
    ended = tool.run("--revision", branch)
    assert ended.code == 0, ended
    assert (tool.folder / "refs" / branch).read_text() == commit
    assert tool.run("--revision", branch, "--status-only").code == 0
