"""Take over bytes that are on this machine already, and only after they have proved to be the right ones.

A whole file is proved by its digest and then shared with its old place (a reflink, or a hard link) or copied. A prefix
cannot be proved alone: it becomes the partial, and the digest of the finished file proves it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qwen_fetch.base.events import FileDone, Note, Phase
from qwen_fetch.base.parallel import on_all_cores
from qwen_fetch.base.units import size_text
from qwen_fetch.cache import disk
from qwen_fetch.cache.copying import append
from qwen_fetch.cache.linking import bring
from qwen_fetch.cache.locks import BlobLock
from qwen_fetch.cache.material import usable
from qwen_fetch.cache.partial import Partial
from qwen_fetch.transfer.plan import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qwen_fetch.base.events import Listener
    from qwen_fetch.cache.material import Material
    from qwen_fetch.cache.memory import Memory
    from qwen_fetch.cache.store import Store
    from qwen_fetch.transfer.plan import Step

__all__ = ["adopt"]

_PIECE = 1 << 20


def adopt(
    store: Store,
    commit: str,
    steps: Sequence[Step],
    memory: Memory,
    emit: Listener,
    tick: Callable[[], None],
) -> dict[str, int]:
    """Do the adoptions of a plan; what does not prove right is left where it is.

    Args:
        store: The repo's place in the cache.
        commit: The pinned commit.
        steps: The plan; only those that adopt are done.
        memory: What was read before.
        emit: Told what happens.
        tick: Called several times a second; what it raises ends it.

    Returns:
        Bytes taken over, by path.

    Raises:
        OSError: Our own place in the cache cannot be written to.
    """
    steps = sorted((s for s in steps if s.action is Action.ADOPT), key=lambda step: -step.have)
    if not steps:
        return {}
    emit(Phase("adopt"))
    jobs = {step.file.path: _Adoption(store, commit, step, memory, emit).run for step in steps}
    return on_all_cores("adopt", jobs, sum(step.have for step in steps), emit, tick)


class _Adoption:
    """The adoption of one file."""

    def __init__(self, store: Store, commit: str, step: Step, memory: Memory, emit: Listener) -> None:
        self._store = store
        self._commit = commit
        self._step = step
        self._file = step.file
        self._memory = memory
        self._emit = emit

    def run(self, on_bytes: Callable[[int], None]) -> int:
        """Try one source after the other; returns the bytes gained."""
        lock = BlobLock(self._store, self._file)
        if not lock.take():
            return 0  # whoever holds it is fetching the file
        try:
            for source in self._step.sources:
                gained = self._whole(source, on_bytes) if source.whole else self._prefix(source, lambda: on_bytes(0))
                if gained:
                    return gained
        finally:
            lock.release()
        return 0

    def _whole(self, source: Material, on_bytes: Callable[[int], None]) -> int:
        file, path = self._file, source.path.resolve()
        try:
            right = self._memory.digest(path, file, on_bytes) == file.digest.hex
        except OSError as error:
            self._emit(Note(f"{path} cannot be read: {error.strerror}"))
            return 0
        if not right:
            self._emit(Note(f"{path} has the size of {file.path} and other bytes: not used"))
            return 0
        how = bring(self._store, self._memory, self._commit, file, path, lambda: on_bytes(0))
        if not how:
            self._emit(Note(f"{path} changed while it was being taken over: not used"))
            return 0
        disk.remove(self._store.partial(file), missing_ok=True)
        self._emit(Note(f"{file.path}: {size_text(file.size)} taken over from {path} ({how})"))
        self._emit(FileDone(file.path, file.size))
        return file.size

    def _prefix(self, source: Material, alive: Callable[[], None]) -> int:
        """Make the source's good start the partial, unless the partial is longer or says something else."""
        file, store = self._file, self._store
        partial = store.partial(file)
        have = store.partial_size(file) or 0
        try:
            good = usable(source.path, file, wrong=source.wrong)
            if good <= have:
                return 0
            if have and not _same_start(source.path, partial, have):
                self._emit(Note(f"{source.path.name} and the partial of {file.path} differ: not used"))
                return 0
        except OSError as error:
            self._emit(Note(f"{source.path} cannot be read: {error.strerror}"))
            return 0
        if source.ours and source.path.stat().st_nlink == 1 and os.access(source.path, os.W_OK):
            # Cut first: killed between the two, what is left is a shorter prefix under its old name.
            os.truncate(source.path, good)
            disk.give_name(source.path, partial)
        else:
            self._extend(source.path, good, alive)
        self._emit(Note(f"{file.path}: goes on at byte {good:,}, from {source.path.name}"))
        return good - have

    def _extend(self, path: Path, end: int, alive: Callable[[], None]) -> None:
        name = self._store.spare_name(self._file)
        disk.make_folder(self._store.blobs, self._store.cache_dir)
        try:
            if disk.clone(path, name):
                os.truncate(name, end)
                disk.give_name(name, self._store.partial(self._file))
                return
        finally:
            disk.remove(name, missing_ok=True)
        partial = Partial(self._store.partial(self._file), self._file)
        try:
            append(path, partial, end, alive)
        finally:
            partial.close()


def _same_start(first: Path, second: Path, size: int) -> bool:
    with first.open("rb") as one, second.open("rb") as other:
        for start in range(0, size, _PIECE):
            count = min(_PIECE, size - start)
            if one.read(count) != other.read(count):
                return False
    return True
