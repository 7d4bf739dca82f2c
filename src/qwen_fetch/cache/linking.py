"""Every path of a snapshot leads to its bytes, and those exist once on the disk, with symlinks and without.

Without symlinks (Windows without Developer Mode, exFAT, some network shares) a file lies where programs load it from.
The same bytes under another path, or in the snapshot of another commit, get a second name there: a hard link. Where
there are none either, they move to where they are wanted now; only for two paths of one snapshot they are copied.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qwen_fetch.cache import disk
from qwen_fetch.cache.copying import copy
from qwen_fetch.cache.locks import BlobLock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.cache.memory import Memory
    from qwen_fetch.cache.store import Store

__all__ = ["bring", "link"]


def link(
    store: Store, commit: str, files: Sequence[RepoFile], memory: Memory, alive: Callable[[], None] = lambda: None
) -> list[str]:
    """Lead every path to its bytes where these are here and the path does not.

    Args:
        store: The repo's place in the cache.
        commit: Whose snapshot.
        files: What is wanted of it.
        memory: What was read of the files here.
        alive: Called several times a second while something has to be copied; what it raises ends it.

    Returns:
        What the user should know of it, a sentence each.

    Raises:
        OSError: The file system refuses.
    """
    notes: list[str] = []
    astray: list[RepoFile] = []
    standing: dict[str, Path] = {}
    for file in files:
        if store.look(commit, file).linked:
            standing.setdefault(file.digest.hex, store.place(commit, file))
        else:
            astray.append(file)
    for file in astray:
        if store.unlink_wrong_pointer(commit, file):
            notes.append(f"{file.path}: its pointer did not lead to it, and is made again")
        place = standing.get(file.digest.hex) or _anywhere(store, memory, file)
        if place is None:
            continue
        if store.symlinks_work and place == store.blob(file):
            disk.make_folder(store.pointer(commit, file).parent, store.repo)
            with suppress(FileExistsError):  # another run has just made it
                disk.point(store.pointer(commit, file), place)
        elif how := _bring_alone(store, memory, commit, file, place, alive):
            standing[file.digest.hex] = store.place(commit, file)
            if how == "copied":
                notes.append(f"{file.path}: copied: no links here")
            elif how == "moved" and (other := store.commit_at(place)):
                notes.append(f"{file.path}: moved from the snapshot of {other[:8]}, which lacks it now: no links here")
    return notes


def _bring_alone(
    store: Store, memory: Memory, commit: str, file: RepoFile, place: Path, alive: Callable[[], None]
) -> str:
    """The same as `bring`, unless somebody else is busy with these bytes: a look afterwards says where they are."""
    lock = BlobLock(store, file)
    if not lock.take():
        return ""
    try:
        return bring(store, memory, commit, file, place, alive)
    finally:
        lock.release()


def bring(
    store: Store,
    memory: Memory,
    commit: str,
    file: RepoFile,
    place: Path,
    alive: Callable[[], None] = lambda: None,
) -> str:
    """Give a file that lies at `place` its final name, in the cheapest way that this disk has.

    The lock of the blob must be held.

    Args:
        store: The repo's place in the cache.
        memory: What was read of the files here: only what it knows to be right is taken over without being read.
        commit: Whose snapshot.
        file: What it is.
        place: Where its bytes lie.
        alive: Called several times a second while they are copied; what it raises ends it.

    Returns:
        How: ``shared blocks``, ``hard link``, ``moved`` or ``copied``; empty where the bytes have changed.

    Raises:
        OSError: The file system refuses.
    """
    disk.make_folder(store.blobs, store.cache_dir)
    known = memory.recall(place)
    if known is not None and known.digest == file.digest.hex:
        # Nobody misses what lies in the cache and not in this snapshot: where it has no second name, it moves.
        is_spare = place == store.blob(file) or store.commit_at(place) not in {None, commit}
        name = store.spare_name(file)
        try:
            how = disk.share(place, name, ours=store.repo in place.parents)
            if how and not memory.is_untouched(place, known):
                return ""
            if how or is_spare:
                store.install(commit, file, name if how else place)
                memory.add(store.place(commit, file), known.digest, known.when)
                if how:
                    memory.add(place, known.digest, known.when)  # a second name is a change of the first, too
                return how or "moved"
        finally:
            disk.remove(name, missing_ok=True)
    if not copy(store, file, place, alive):
        return ""
    store.install(commit, file)
    memory.add(store.place(commit, file), file.digest.hex)
    return "copied"


def _anywhere(store: Store, memory: Memory, file: RepoFile) -> Path | None:
    return store.blob(file) if store.blob_size(file) == file.size else memory.standing(file)
