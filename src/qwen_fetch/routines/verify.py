"""Hash what is here and compare it with the Hub's digests, or with those of the cached tree when the Hub is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.base.events import Note, Phase
from qwen_fetch.base.parallel import on_all_cores
from qwen_fetch.base.problem import ExitCode
from qwen_fetch.base.units import day_text
from qwen_fetch.cache.memory import Memory
from qwen_fetch.cache.store import Store
from qwen_fetch.diagnosis.translate import problem_of
from qwen_fetch.listing import snapshot
from qwen_fetch.listing.cached import cached, who_said
from qwen_fetch.listing.hub import Hub
from qwen_fetch.routines.report import make_report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_fetch.base.events import Listener
    from qwen_fetch.base.files import RepoFile, Snapshot
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.routines.report import Report

__all__ = ["check", "compare_digests", "listing", "verify"]


def verify(
    settings: Settings, emit: Listener, tick: Callable[[], None] = lambda: None, *, again: bool = False
) -> Report:
    """Read every file that is here whole and compare its digest: `verified` in the report says what was found.

    What has not been touched since it was read last is not read again.

    Args:
        settings: Which repo in which cache.
        emit: Told what happens.
        tick: Called several times a second; what it raises ends it.
        again: Read everything, whatever is remembered.

    Raises:
        Problem: Nothing is known of this repo, here or on the Hub; or no file matches.
    """
    store = Store.open(settings.hub_cache, settings.repo_id)
    known = listing(settings, store, emit, tick)
    wanted = snapshot.select(known, settings.include, settings.exclude)
    return check(settings, store, known, wanted, emit, tick, again=again)


def check(
    settings: Settings,
    store: Store,
    known: Snapshot,
    wanted: list[RepoFile],
    emit: Listener,
    tick: Callable[[], None],
    *,
    again: bool = False,
) -> Report:
    """The same for files of a known listing."""
    emit(Phase("verify"))
    whole = [file for file in wanted if store.look(known.commit, file).blob == file.size]
    verified = compare_digests(store, Memory(store), known.commit, whole, emit, tick, again=again)
    return make_report(settings, store, known, wanted, {path: right for path, right in verified.items() if not right})


def listing(settings: Settings, store: Store, emit: Listener, tick: Callable[[], None]) -> Snapshot:
    """What the Hub lists now; while it cannot be reached, what was listed last, and who said it."""
    emit(Phase("listing"))
    try:
        return snapshot.fetch(Hub(settings, tick, lambda text: emit(Note(text))), store, keep=False, afresh=True)
    except Exception as error:
        problem = problem_of(error, settings)
        known = cached(settings, store)
        if known is None or problem.exit_code is not ExitCode.NETWORK:
            raise problem from error
        said = who_said(store, known.commit)
        whose = f"what {said.endpoint} listed on {day_text(said.when)}" if said else "the listing in the cache"
        emit(Note(f"{settings.host} cannot be asked ({problem.id}): compared with {whose}."))
        return known


def compare_digests(
    store: Store,
    memory: Memory,
    commit: str,
    files: Sequence[RepoFile],
    emit: Listener,
    tick: Callable[[], None],
    *,
    again: bool = False,
) -> dict[str, bool]:
    """Read files that are here whole, on all cores, and remember what was found.

    Args:
        store: The repo's place in the cache.
        memory: What was read before; that is not read again unless `again`.
        commit: Whose snapshot.
        files: What to read.
        emit: Told how far it is.
        tick: Called several times a second; what it raises ends it.
        again: Read everything.

    Returns:
        Whether each file has its digest, by path.
    """

    def compare(file: RepoFile) -> Callable[[Callable[[int], None]], bool]:
        def job(on_bytes: Callable[[int], None]) -> bool:
            try:
                return memory.digest(store.place(commit, file), file, on_bytes, again=again) == file.digest.hex
            except OSError as error:
                emit(Note(f"{file.path} cannot be read: {error.strerror}"))
                return False

        return job

    jobs = {file.path: compare(file) for file in sorted(files, key=lambda file: -file.size)}
    try:
        return on_all_cores("verify", jobs, sum(file.size for file in files), emit, tick)
    finally:
        memory.save()
