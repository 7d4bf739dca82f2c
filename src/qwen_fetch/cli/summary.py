"""What stays on the screen when a download is done: how much, how long, what was in the way, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.base.units import size_text, time_text
from qwen_fetch.cli.tally import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.cli.tally import Tally
    from qwen_fetch.routines.download import Result

__all__ = ["next_lines", "summary_lines"]


def summary_lines(result: Result, tally: Tally) -> Iterator[str]:
    """What was done, in one line, and in a second one what was there before or in the way."""
    report = result.report
    verified = "all verified" if all(file.verified for file in report.files) else "all here"
    what = f"{counted(len(report.files), 'file')}, {size_text(report.bytes_total)}, {verified}"
    how = "nothing had to be fetched"
    if result.bytes_fetched:
        rate = result.bytes_fetched / max(result.seconds, 0.001)
        how = f"{size_text(result.bytes_fetched)} in {time_text(result.seconds)} ({size_text(rate)}/s)"
    yield f"✓ {what}; {how}"
    more = [
        f"{size_text(result.bytes_resumed)} resumed" if result.bytes_resumed else "",
        f"{size_text(result.bytes_adopted)} taken over" if result.bytes_adopted else "",
        *tally.words(),
    ]
    if any(more):
        yield "  " + " · ".join(filter(None, more))


def next_lines(result: Result, check_load: str) -> Iterator[str]:
    """What to do with it.

    Args:
        result: What is here now.
        check_load: The command that says how it runs on this machine.
    """
    yield f"Load it:          from_pretrained({result.report.repo_id!r}, local_files_only=True)"
    yield f"How it runs here: {check_load}"
