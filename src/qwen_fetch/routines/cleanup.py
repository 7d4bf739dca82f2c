"""Remove what no snapshot needs: partials, orphans of killed downloads, lock files nobody holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from qwen_fetch.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwen_fetch.settings import Settings
    from qwen_fetch.store import Leftover

__all__ = ["Cleanup", "cleanup", "find"]


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What was done.

    Attributes:
        removed: The files that are gone.
        held: Those that were left alone because a live process holds them.
    """

    removed: tuple[Leftover, ...]
    held: tuple[Leftover, ...]

    @property
    def bytes_freed(self) -> int:
        """Bytes of the removed files."""
        return sum(leftover.bytes for leftover in self.removed)


def find(settings: Settings) -> list[Leftover]:
    """Everything that `cleanup` would remove, for this repo only."""
    return list(Store(settings.hub_cache, settings.repo_id).leftovers())


def cleanup(settings: Settings, on_removed: Callable[[Leftover], None] = lambda _: None) -> Cleanup:
    """Remove the leftovers of this repo, except what a live process holds.

    Args:
        settings: Which repo in which cache.
        on_removed: Told of each file that is gone.

    Raises:
        OSError: A file cannot be removed.
    """
    store = Store(settings.hub_cache, settings.repo_id)
    removed, held = [], []
    # The locks last: they guard the other files meanwhile.
    for leftover in sorted(store.leftovers(), key=lambda leftover: leftover.kind == "lock"):
        if _remove(leftover.path, _lock_of(store, leftover)):
            removed.append(leftover)
            on_removed(leftover)
        else:
            held.append(leftover)
    return Cleanup(tuple(removed), tuple(held))


def _lock_of(store: Store, leftover: Leftover) -> Path:
    if leftover.kind == "lock":
        return leftover.path.with_suffix(".lock")  # a holder's note goes with its lock
    return store.locks / f"{leftover.path.name.split('.', 1)[0]}.lock"


def _remove(path: Path, lock: Path) -> bool:
    """Remove `path` while holding `lock`; False when somebody else holds it."""
    if not lock.exists():
        path.unlink(missing_ok=True)
        return True
    try:
        with FileLock(lock, blocking=False):
            path.unlink(missing_ok=True)
    except Timeout:
        return False
    return True
