"""Copy a file into a partial: hashed as it grows, and kept as far as it got when that is interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.cache.partial import Partial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.cache.store import Store

__all__ = ["append", "copy"]

_PIECE = 1 << 20


def copy(store: Store, file: RepoFile, path: Path, alive: Callable[[], None]) -> bool:
    """Make the whole partial of a file from the one at `path`; what is there already is not copied again.

    The lock of the blob must be held.

    Args:
        store: The repo's place in the cache.
        file: What it is to be.
        path: What to copy.
        alive: Called for each piece; what it raises ends it, and what was copied is kept.

    Returns:
        Whether it has its digest; if not, the partial is empty.

    Raises:
        OSError: It cannot be read, or the disk is full or fails.
    """
    partial = Partial(store.partial(file), file)
    try:
        partial.catch_up(lambda _: alive())
        append(path, partial, file.size, alive)
        if not partial.is_right():  # the prefix that was there was wrong
            partial.restart()
            append(path, partial, file.size, alive)
        if not partial.is_right():
            partial.restart()
            return False
        partial.flush()
    finally:
        partial.close()
    return True


def append(path: Path, partial: Partial, end: int, alive: Callable[[], None]) -> None:
    """Copy what `partial` does not have yet of the file at `path`, up to byte `end`.

    Raises:
        OSError: It cannot be read, or the disk is full or fails.
    """
    with path.open("rb", buffering=0) as source:
        source.seek(partial.committed)
        while partial.committed < end:
            alive()
            piece = source.read(min(_PIECE, end - partial.committed))
            if not piece:
                return
            partial.append(piece)
