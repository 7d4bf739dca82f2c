"""The command in a real terminal: bars while it runs, and nothing but the summary afterwards."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from command import damage

pytest.importorskip("termios", reason="no pseudo-terminals of this kind")
assert sys.platform != "win32"  # for the type checker

from window import Window  # noqa: E402 - not where there is none

if TYPE_CHECKING:
    from workbench import Bench, OpenHub, Tool

    from qwen_fetch.localhub.hub import LocalHub


def has_total(lines: list[str]) -> bool:
    return any(line.startswith("total") and "MB/s" in line for line in lines)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_bars_while_it_runs_and_only_the_summary_at_the_end(empty: Bench, columns: int) -> None:
    window = Window(empty.tool, "--limit-rate", "12M", columns=columns)
    lines = window.until(has_total)
    assert all(len(line) < columns for line in lines)
    assert any(line.startswith(("transformer ", "text_encoder ")) for line in lines)
    window.resize(columns + 20)
    window.until(lambda now: has_total(now) and max(map(len, now)) >= columns + 5)
    window.resize(columns)
    window.until(has_total)
    assert window.wait() == 0
    text = " ".join("".join(line.ljust(columns) for line in window.lines).split())
    assert text.startswith("✓ 39 files, 34.")
    assert "total" not in text
    assert "━" not in text
    assert "--check-load" in "".join(window.lines[-3:])


def test_ctrl_c_leaves_what_is_kept_and_how_to_go_on(empty: Bench) -> None:
    window = Window(empty.tool, "--limit-rate", "6M")
    window.until(has_total)
    window.interrupt()
    assert window.wait() == 130
    assert window.lines[0].startswith("Stopped by Ctrl-C. Kept: ")
    assert window.lines[-1].startswith("Go on from here: python ") or "Go on from here: " in "".join(window.lines)
    assert "━" not in "".join(window.lines)


def test_an_error_is_a_block_with_its_command_on_a_line(tool: Tool) -> None:
    window = Window(tool, "--max-retries", "1")
    assert window.wait() == 4
    assert window.lines[0].startswith("error: ")
    assert "[connection-refused]" in "".join(window.lines)
    assert b"\x1b[31m" in window.raw


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_COLOR": "1"}])
def test_a_terminal_that_cannot_or_may_not_gets_plain_lines(
    complete: Tool, hub: LocalHub, variables: dict[str, str]
) -> None:
    damage(complete, hub)
    window = Window(complete, variables=variables)
    assert window.wait() == 0
    assert b"\x1b" not in window.raw
    assert b"Qwen/Qwen-Image-Edit at main" in window.raw


def test_the_first_sign_of_life_comes_at_once(tool: Tool, open_hub: OpenHub, small_repo: object) -> None:
    tool.endpoint = open_hub(small_repo).endpoint
    window = Window(tool, "--limit-rate", "20M")
    window.until(bool, seconds=3)  # 0.3 s on a machine that does nothing else
    window.interrupt()
    window.wait()
