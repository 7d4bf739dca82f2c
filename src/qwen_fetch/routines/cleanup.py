"""Remove what no snapshot needs: partials, orphans of killed downloads, pointers to nothing, locks nobody holds."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from qwen_fetch.cache.disk import is_running, remove
from qwen_fetch.cache.store import Leftover, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from qwen_fetch.base.settings import Settings
    from qwen_fetch.cache.store import LeftoverKind

__all__ = ["WHY", "Cleanup", "cleanup", "find", "find_xet"]

WHY: dict[LeftoverKind, str] = {
    "partial": "the next download would go on with it: these bytes have to be fetched again",
    "orphan": "left by a killed download; no Hub client uses it again",
    "temporary": "a moment's file of a Hub client that was killed",
    "pointer": "leads to nothing; the next download makes it again",
    "lock": "nobody holds it; the next download makes it again",
    "foreign": "no Hub client makes such a file: it is yours to keep or remove",
    "xet": "a temporary file or log of the Xet client, of a process that has ended",
}
"""Why each kind may go, or why it stays."""

_MOMENT = 60.0  # seconds that a client's short-lived files may live
_DAY = 86_400.0
_LOG = re.compile(r"xet_.*_(\d+)\.log")  # the number is the process


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
    return [one for one in Store.open(settings.hub_cache, settings.repo_id).leftovers() if one.kind != "foreign"]


def find_xet() -> Iterator[Leftover]:
    """Temporary files of the Xet client that are a day old, and the logs of processes that have ended.

    They belong to no repo.
    """
    from huggingface_hub import constants  # noqa: PLC0415 - reads the environment

    cache = Path(constants.HF_XET_CACHE)
    for path in sorted(cache.glob("*/staging/**/*")):
        if path.is_file() and _age(path) > _DAY:
            yield Leftover(path, path.stat().st_size, "xet")
    for path in sorted((cache / "logs").glob("*.log")):
        if not _is_running(path):
            yield Leftover(path, path.stat().st_size, "xet")


def cleanup(
    settings: Settings, leftovers: Iterable[Leftover], on_removed: Callable[[Leftover], None] = lambda _: None
) -> Cleanup:
    """Remove leftovers of this repo, except what a live process holds.

    Args:
        settings: Which repo in which cache.
        leftovers: Some of what `find` and `find_xet` found.
        on_removed: Told of each file that is gone.

    Raises:
        OSError: A file cannot be removed.
    """
    store = Store.open(settings.hub_cache, settings.repo_id)
    removed, held = [], []
    # The locks last: they guard the other files meanwhile.
    for leftover in sorted(leftovers, key=lambda leftover: leftover.kind == "lock"):
        try:
            is_gone = _remove(store, leftover)
        except FileNotFoundError:
            continue  # whoever made it has just taken it away
        if is_gone:
            removed.append(leftover)
            on_removed(leftover)
        else:
            held.append(leftover)
    return Cleanup(tuple(removed), tuple(held))


def _remove(store: Store, leftover: Leftover) -> bool:
    """Remove it while holding the lock that guards it; False when somebody else is using it."""
    path = leftover.path
    if leftover.kind == "temporary" and _age(path) < _MOMENT:
        return False
    lock = _lock_of(store, leftover)
    if lock is None or not lock.exists():
        remove(path)
        return True
    try:
        with FileLock(lock, blocking=False):
            if path != lock:
                remove(path)
                return True
            with suppress(PermissionError):  # Windows removes nothing that is open, so it is done below
                path.unlink()
                return True
    except Timeout:
        return False
    try:
        path.unlink(missing_ok=True)
    except PermissionError as error:
        if getattr(error, "winerror", None) is None:
            raise
        return False  # somebody has taken it in this very moment
    return True


def _lock_of(store: Store, leftover: Leftover) -> Path | None:
    path = leftover.path
    if leftover.kind == "lock":
        return path.with_suffix(".lock")  # a holder's note goes with its lock
    if leftover.kind in {"partial", "orphan"}:
        return store.locks / f"{path.name.split('.', 1)[0]}.lock"
    if leftover.kind == "pointer":
        return store.locks / f"{path.readlink().name}.lock"
    return None


def _age(path: Path) -> float:
    return time.time() - path.lstat().st_mtime


def _is_running(log: Path) -> bool:
    """Whether the process that writes a log may still be there."""
    match = _LOG.fullmatch(log.name)
    running = is_running(int(match[1])) if match else None
    return _age(log) < _DAY if running is None else running
