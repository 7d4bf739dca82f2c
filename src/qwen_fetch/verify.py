"""Hash what is here and compare it with the Hub's digests, or with those of the cached tree when the Hub is away."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Lock
from typing import TYPE_CHECKING

from qwen_fetch import snapshot
from qwen_fetch.diagnosis import problem_of
from qwen_fetch.errors import ExitCode
from qwen_fetch.events import Note, Phase, Progress
from qwen_fetch.hub import Hub
from qwen_fetch.report import FileState, make_report
from qwen_fetch.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwen_fetch.events import Listener
    from qwen_fetch.report import Report
    from qwen_fetch.settings import Settings
    from qwen_fetch.snapshot import RepoFile, Snapshot

__all__ = ["compare", "verify"]


def verify(settings: Settings, emit: Listener, tick: Callable[[], None] = lambda: None) -> Report:
    """Read every complete file and compare its digest; `verified` and `corrupt` in the report say what was found.

    Raises:
        Problem: Nothing is known of this repo, here or on the Hub; or no file matches.
    """
    store = Store(settings.hub_cache, settings.repo_id)
    known = _listing(settings, store, emit, tick)
    wanted = snapshot.select(known, settings.include, settings.exclude)
    emit(Phase("verify"))
    before = make_report(settings, store, known, wanted)
    here = {file.path for file in before.files if file.state is FileState.COMPLETE}
    verified = compare(store, known, [file for file in wanted if file.path in here], emit, tick)
    return make_report(settings, store, known, wanted, verified)


def _listing(settings: Settings, store: Store, emit: Listener, tick: Callable[[], None]) -> Snapshot:
    """What the Hub lists; while it cannot be reached, what it listed last."""
    emit(Phase("listing"))
    try:
        return snapshot.fetch(Hub(settings, tick, lambda text: emit(Note(text))), store, keep=False)
    except Exception as error:
        problem = problem_of(error, settings)
        known = snapshot.cached(settings, store)
        if known is None or problem.exit_code is not ExitCode.NETWORK:
            raise problem from error
        emit(Note(f"The Hub cannot be asked ({problem.id}): compared with the listing of the last download."))
        return known


def compare(
    store: Store, known: Snapshot, files: list[RepoFile], emit: Listener, tick: Callable[[], None]
) -> dict[str, bool]:
    """Whether each of `files` has its digest, by its path; reads them all, the largest first, on every core."""
    total = sum(file.size for file in files)
    done = 0
    lock = Lock()
    stop = False

    def count(read: int) -> None:
        nonlocal done
        with lock:
            done += read
        if stop:
            raise InterruptedError

    def compare(path: Path, file: RepoFile) -> bool:
        try:
            return file.digest.matches(path, count)
        except InterruptedError:
            raise
        except OSError as error:
            emit(Note(f"{file.path} cannot be read: {error.strerror}"))
            return False

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = {
            file.path: pool.submit(compare, store.pointer(known.commit, file), file)
            # The largest first, so that no core is left alone with one at the end.
            for file in sorted(files, key=lambda file: -file.size)
        }
        try:
            while wait(results.values(), timeout=0.1).not_done:
                emit(Progress("verify", done, total))
                tick()
        except BaseException:
            stop = True
            for result in results.values():
                result.cancel()
            raise
    emit(Progress("verify", done, total))
    return {path: result.result() for path, result in results.items()}
