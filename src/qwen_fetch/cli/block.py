"""A problem as it is told: on a terminal as a block of its width, the commands to copy on lines of their own."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from qwen_fetch.base.problem import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.base.problem import Problem
    from qwen_fetch.cli.terminal import Terminal

__all__ = ["tell"]

_WIDEST = 100  # columns that are still read with ease
_INDENT = " " * 8
_ASKED_FOR = {ExitCode.INTERRUPTED, ExitCode.TERMINATED}


def tell(problem: Problem, terminal: Terminal) -> None:
    """Print what happened, why, what to do, what was kept; in a log a line for each, as `Problem.lines`.

    Raises:
        OSError: It cannot be written to.
    """
    lines = _block(problem, min(terminal.size()[0], _WIDEST)) if terminal.is_terminal else problem.lines()
    terminal.say("\n".join(lines), "" if problem.exit_code in _ASKED_FOR else "red")


def _block(problem: Problem, width: int) -> Iterator[str]:
    if problem.exit_code in _ASKED_FOR:
        kept = f" Kept: {problem.kept}." if problem.kept else ""
        yield from _wrapped(f"{problem.what}{kept}", width, "")
        yield from (text + command for text, command in problem.steps)
        return
    yield from _wrapped(f"error: {problem.what} [{problem.id}]", width, _INDENT)
    if problem.why:
        yield from _part("why", problem.why, width)
    for text, command in problem.steps:
        if text:
            yield from _part("do", text, width)
        if command:  # never wrapped: it is to be copied
            yield f"{_INDENT}  {command}" if text else f"  do:   {command}"
    if problem.kept:
        yield from _part("kept", problem.kept, width)


def _part(label: str, text: str, width: int) -> Iterator[str]:
    first, *listed = text.split("\n")  # what comes in lines of its own stays so
    yield from _wrapped(f"  {label + ':':<5} {first}", width, _INDENT)
    yield from listed


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
