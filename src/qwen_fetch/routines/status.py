"""What is here, what is missing, what can be resumed: offline, from the cached tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch import catalogue, snapshot
from qwen_fetch.errors import Problem
from qwen_fetch.report import FileState, make_report
from qwen_fetch.store import Store
from qwen_fetch.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.report import Report
    from qwen_fetch.settings import Settings

__all__ = ["status", "status_lines"]


def status(settings: Settings) -> Report:
    """Where the wanted files stand; no network, nothing is changed.

    Raises:
        Problem: (nothing-known) no download of this revision has begun here; (no-match) no file matches.
    """
    store = Store(settings.hub_cache, settings.repo_id)
    known = snapshot.cached(settings, store)
    if known is None:
        raise Problem(
            catalogue.NOTHING_KNOWN,
            repo_id=settings.repo_id,
            revision=settings.revision,
            cache_dir=store.cache_dir,
            command=settings.command(),
        )
    wanted = snapshot.select(known, settings.include, settings.exclude)
    return make_report(settings, store, known, wanted)


def status_lines(report: Report, command: str) -> Iterator[str]:
    """The report for people.

    Args:
        report: What to show.
        command: The command line that goes on with it.
    """
    complete = report.in_state(FileState.COMPLETE)
    yield f"{report.repo_id} at {report.revision} ({report.commit[:8]}) in {report.cache_dir}"
    yield (
        f"complete   {len(complete)} of {len(report.files)} files, "
        f"{size_text(report.bytes_present)} of {size_text(report.bytes_total)}"
    )
    for file in report.in_state(FileState.PARTIAL):
        what = "here, not linked yet" if file.bytes == file.size else f"resumes at byte {file.bytes:,}"
        yield f"partial    {file.path}  {size_text(file.bytes)} of {size_text(file.size)}, {what}"
    for state in (FileState.MISSING, FileState.CORRUPT):
        for file in report.in_state(state):
            yield f"{state:<10} {file.path}  {size_text(file.size)}"
    if report.leftovers:
        spare = sum(leftover.bytes for leftover in report.leftovers)
        yield f"leftovers  {len(report.leftovers)} files, {size_text(spare)}: {command} --cleanup"
    yield f"disk       {size_text(report.disk_free)} free"
    if report.complete:
        yield "Complete."
    else:
        left = report.bytes_total - report.bytes_present - report.bytes_partial
        yield f"{size_text(left)} to fetch: {command}"
