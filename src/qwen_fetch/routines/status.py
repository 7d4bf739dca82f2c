"""What is here, what is missing, what can be resumed: offline, from the cached tree."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.units import size_text
from qwen_fetch.cache.store import Store
from qwen_fetch.listing import snapshot
from qwen_fetch.listing.cached import cached
from qwen_fetch.routines.report import FileState, make_report, report_of_guess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qwen_fetch.base.settings import Settings
    from qwen_fetch.routines.report import FileReport, Report

__all__ = ["status", "status_lines"]

_BAR = 20  # characters
_MANY = 12  # lines of one kind before the rest is only counted


def status(settings: Settings) -> Report:
    """Where the wanted files stand; no network, nothing is changed.

    Raises:
        Problem: (nothing-known) no download of this revision has begun here, and nothing else tells what belongs
            to it; (no-match) no file matches.
    """
    store = Store.open(settings.hub_cache, settings.repo_id)
    known = cached(settings, store)
    if known is not None:
        wanted = snapshot.select(known, settings.include, settings.exclude)
        return make_report(settings, store, known, wanted)
    if report := _of_newest_listing(settings, store):
        return report
    from qwen_fetch.listing.guessed import guess  # noqa: PLC0415 - rarely needed, and the start is to be instant

    if (guessed := guess(settings, store)) is not None:
        return report_of_guess(settings, store, guessed)
    raise Problem(
        catalogue.NOTHING_KNOWN,
        repo_id=settings.repo_id,
        revision=settings.revision,
        cache_dir=store.cache_dir,
        command=settings.command(),
    )


def _of_newest_listing(settings: Settings, store: Store) -> Report | None:
    """Where the branch's ref is damaged, the listing that was fetched last still says what there is."""
    if not (store.repo / "refs" / settings.revision).is_file():
        return None
    trees = sorted((store.repo / "trees").glob("*.json"), key=lambda path: path.stat().st_mtime)
    known = cached(replace(settings, revision=trees[-1].stem), store) if trees else None
    if known is None:
        return None
    report = make_report(settings, store, known, snapshot.select(known, settings.include, settings.exclude))
    what = f"refs/{settings.revision} leads to no listing: this is the newest one here. tools/fix_download.py mends it."
    return replace(report, note=what)


def status_lines(report: Report, command: str) -> Iterator[str]:
    """The report for people.

    Args:
        report: What to show.
        command: The command line that goes on with it.
    """
    commit = f" ({report.commit[:8]})" if report.commit else ""
    yield f"{report.repo_id} at {report.revision}{commit} in {report.cache_dir}"
    if report.note:
        yield f"note       {report.note}"
    yield from _components(report)
    yield from _some("partial", report.in_state(FileState.PARTIAL), _resume)
    yield from _some("missing", report.in_state(FileState.MISSING), _size)
    yield from _some("corrupt", report.in_state(FileState.CORRUPT), lambda file: file.reason)
    if report.leftovers:
        spare = sum(leftover.bytes for leftover in report.leftovers)
        yield f"leftovers  {len(report.leftovers)} files, {size_text(spare)}: {command} --cleanup"
    yield f"verified   {_verified(report.files)}"
    yield f"disk       {size_text(report.disk_free)} free"
    yield _verdict(report, command)


def _components(report: Report) -> Iterator[str]:
    components: dict[str, list[FileReport]] = {}
    for file in report.files:
        components.setdefault(file.component, []).append(file)
    rows = [*components.items(), ("all", list(report.files))]
    width = max(len(name) for name, _ in rows)
    for name, files in rows:
        total = sum(file.size for file in files)
        here = sum(min(file.bytes, file.size) for file in files if file.state is not FileState.CORRUPT)
        complete = sum(file.state is FileState.COMPLETE for file in files)
        # A bar is full only when everything is there.
        filled = _BAR if complete == len(files) else min(_BAR - 1, here * _BAR // max(total, 1))
        state = next((s for s in reversed(FileState) if any(file.state is s for file in files)), FileState.COMPLETE)
        if state is FileState.MISSING and here:
            state = FileState.PARTIAL
        yield (
            f"  {name or '(top)':<{max(width, 5)}}  {complete:>2} of {len(files):>2} files  "
            f"[{'#' * filled}{'.' * (_BAR - filled)}]  {size_text(here):>8} of {size_text(total):>8}  {state}"
        )


def _size(file: FileReport) -> str:
    return ", ".join(filter(None, [size_text(file.size) if file.size else "size not known", file.reason]))


def _resume(file: FileReport) -> str:
    what = file.reason or "here, not linked yet" if file.bytes == file.size else f"resumes at byte {file.bytes:,}"
    return f"{size_text(file.bytes)} of {size_text(file.size)}, {what}"


def _some(label: str, files: Sequence[FileReport], words: Callable[[FileReport], str]) -> Iterator[str]:
    for file in files[:_MANY]:
        yield f"{label:<10} {file.path}  {words(file)}"
    if more := files[_MANY:]:
        yield f"{label:<10} and {len(more)} more, {size_text(sum(file.size for file in more))}"


def _verified(files: Sequence[FileReport]) -> str:
    times = [file.when for file in files if file.when is not None]
    if not times:
        return "no file yet"
    count = "all files" if len(times) == len(files) else f"{len(times)} of {len(files)} files"
    first, last = (time.strftime("%Y-%m-%d %H:%M", time.localtime(when)) for when in (min(times), max(times)))
    return f"{count}, on {last}" if first == last else f"{count}, between {first} and {last}"


def _verdict(report: Report, command: str) -> str:
    if report.complete:
        unread = sum(file.verified is None for file in report.files)
        return f"Complete; {unread} files were never read back: {command} --verify" if unread else "Complete."
    left = report.bytes_total - report.bytes_present - report.bytes_partial
    return f"{size_text(left)} to fetch: {command}"
