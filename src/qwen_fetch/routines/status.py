"""What is here, what is missing, what can be resumed: offline, from the cached tree."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import program
from qwen_fetch.base.units import amount_text, size_text
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
_SHORTEST = 4  # of a bar that says something
_BAR_ENDS = 4  # columns: its brackets, and the gap after it
_BESIDE = 41  # columns of a row that are neither name nor bar
_MANY = 4  # lines of one kind before the rest is only counted


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
    what = f"refs/{settings.revision} leads to no listing: this is the newest one here. Mend it: {program('repair')}"
    return replace(report, note=what)


def status_lines(report: Report, command: str, *, everything: bool = False, columns: int = 80) -> Iterator[str]:
    """The report for people: the verdict first, what matters of the rest, and last what to type next.

    Args:
        report: What to show.
        command: The command line that goes on with it.
        everything: Unfold what is folded: small components that are whole, and long lists.
        columns: How wide the table may be; bars get what is left, or are left out, and then the numbers of files.
    """
    yield _verdict(report)
    commit = f" ({report.commit[:8]})" if report.commit else ""
    yield f"{report.repo_id} at {report.revision}{commit} in {report.cache_dir}"
    if report.note:
        yield f"note       {report.note}"
    yield from _components(report, columns, everything=everything)
    most = len(report.files) if everything else _MANY
    yield from _some("corrupt", report.in_state(FileState.CORRUPT), lambda file: file.reason, most)
    yield from _some("partial", report.in_state(FileState.PARTIAL), _resume, most)
    missing = sorted(report.in_state(FileState.MISSING), key=lambda file: -file.size)
    yield from _some("missing", missing, _size, most)
    if report.leftovers:
        spare = sum(leftover.bytes for leftover in report.leftovers)
        yield f"leftovers  {len(report.leftovers)} files, {size_text(spare)}: {command} --cleanup"
    yield f"verified   {_verified(report.files)}"
    yield f"disk       {size_text(report.disk_free)} free"
    if not report.complete:
        yield f"Go on: {command}"
    elif any(file.verified is None for file in report.files):
        yield f"Read it once: {command} --verify"


def _verdict(report: Report) -> str:
    if report.complete:
        unread = sum(file.verified is None for file in report.files)
        return f"Complete; {unread} of {len(report.files)} files were never read back." if unread else "Complete."
    here = report.bytes_present + report.bytes_partial
    wrong = len(report.in_state(FileState.CORRUPT))
    bad = f", {wrong} damaged" if wrong else ""
    left = size_text(report.bytes_total - here)
    return f"Not complete: {amount_text(here, report.bytes_total)} here{bad}, {left} to fetch."


def _components(report: Report, columns: int, *, everything: bool) -> Iterator[str]:
    components: dict[str, list[FileReport]] = {}
    for file in report.files:
        components.setdefault(file.component or "(top)", []).append(file)
    small = [name for name, files in components.items() if not everything and _is_minor(files, report)]
    folded = [file for name in small for file in components.pop(name)] if len(small) > 1 else []
    rows = [*components.items(), *([(f"{len(small)} others", folded)] if folded else []), ("all", list(report.files))]
    width = max(len(name) for name, _ in rows)
    length = min(_BAR, columns - width - _BESIDE - _BAR_ENDS)
    for name, files in rows:
        total = sum(file.size for file in files)
        here = sum(min(file.bytes, file.size) for file in files if file.state is not FileState.CORRUPT)
        complete = sum(file.state is FileState.COMPLETE for file in files)
        # A bar is full only when everything is there.
        filled = length if complete == len(files) else min(length - 1, here * length // max(total, 1))
        bar = f"[{'#' * filled}{'.' * (length - filled)}]  " if length >= _SHORTEST else ""
        state = next((s for s in reversed(FileState) if any(file.state is s for file in files)), FileState.COMPLETE)
        if state is FileState.MISSING and here:
            state = FileState.PARTIAL
        count = f"{f'{complete}/{len(files)}':>7} files  " if width + _BESIDE <= columns else ""
        yield f"  {name:<{width}}  {count}{bar}{amount_text(here, total):>12}  {state}"


def _is_minor(files: Sequence[FileReport], report: Report) -> bool:
    """Whether nobody misses a line about them: whole, and next to nothing."""
    whole = all(file.state is FileState.COMPLETE for file in files)
    return whole and sum(file.size for file in files) * 1000 < report.bytes_total


def _size(file: FileReport) -> str:
    return ", ".join(filter(None, [size_text(file.size) if file.size else "size not known", file.reason]))


def _resume(file: FileReport) -> str:
    what = file.reason or "here, not linked yet" if file.bytes == file.size else f"resumes at byte {file.bytes:,}"
    return f"{size_text(file.bytes)} of {size_text(file.size)}, {what}"


def _some(label: str, files: Sequence[FileReport], words: Callable[[FileReport], str], most: int) -> Iterator[str]:
    for file in files[:most]:
        yield f"{label:<10} {file.path}  {words(file)}"
    if more := files[most:]:
        yield f"{label:<10} and {len(more)} more, {size_text(sum(file.size for file in more))}"


def _verified(files: Sequence[FileReport]) -> str:
    times = [file.when for file in files if file.when is not None]
    if not times:
        return "no file yet"
    count = "all files" if len(times) == len(files) else f"{len(times)} of {len(files)} files"
    first, last = (time.strftime("%Y-%m-%d %H:%M", time.localtime(when)) for when in (min(times), max(times)))
    return f"{count}, on {last}" if first == last else f"{count}, between {first} and {last}"
