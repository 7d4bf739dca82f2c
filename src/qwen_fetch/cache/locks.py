"""The Hub client's locks, one per blob, and who holds them.

The lock itself is the client's own library on the client's own path, so every Hub client respects it.
Beside a lock that this program takes lies a note that names the process; other holders are found in
the kernel's list where there is one.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from filelock import FileLock, SoftFileLock, Timeout

from qwen_fetch.cache import disk

if TYPE_CHECKING:
    from pathlib import Path

    from filelock import BaseFileLock

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.cache.store import Store

__all__ = ["BlobLock", "holder", "locks_hold"]

_MODE = 0o664  # the client's: people who share a cache can wait for each other


class BlobLock:
    """The lock of one blob.

    Args:
        store: The repo's place in the cache.
        file: The file whose blob is to be written.
    """

    def __init__(self, store: Store, file: RepoFile) -> None:
        self._store = store
        self._path = store.locks / f"{file.digest.hex}.lock"
        self._note = _note(self._path)
        self._lock: BaseFileLock | None = None

    def take(self) -> bool:
        """Take it if it is free, without waiting.

        Raises:
            OSError: The lock file cannot be made.
        """
        disk.make_folder(self._path.parent, self._store.cache_dir)
        disk.check_file(self._path)
        for kind in (FileLock, SoftFileLock):
            lock = kind(self._path, mode=_MODE, thread_local=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                return False
            except NotImplementedError:
                continue  # no flock on this file system: the client falls back to the same soft lock
            self._lock = lock
            note = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
            with suppress(OSError):
                disk.replace_text(self._note, json.dumps(note), self._store.cache_dir)
            return True
        return False

    def release(self) -> None:
        """Give it back."""
        if self._lock is not None:
            with suppress(OSError):  # Windows: somebody reads it just now, to know who holds the lock
                self._note.unlink(missing_ok=True)
            self._lock.release()
            self._lock = None


def locks_hold(store: Store) -> bool:
    """Whether a lock in this cache keeps others out: taken twice, the second time must fail.

    On some network and FUSE file systems both succeed, and two machines would write into one file.
    """
    disk.make_folder(store.locks, store.cache_dir)
    path = store.locks / f".probe-{socket.gethostname()}-{os.getpid()}.lock"
    first, second = FileLock(path, thread_local=False), FileLock(path, thread_local=False)
    try:
        first.acquire(blocking=False)
        try:
            second.acquire(blocking=False)
        except Timeout:
            return True
        second.release()
    except NotImplementedError:
        return True  # no flock at all: a soft lock is used instead, and that is a file
    finally:
        first.release()
        path.unlink(missing_ok=True)
    return False


def holder(store: Store, file: RepoFile) -> str:
    """Who holds the lock of a file's blob, in words."""
    path = store.locks / f"{file.digest.hex}.lock"
    try:
        note = json.loads(disk.read_small(_note(path)))
        owner, host = int(note["pid"]), str(note["host"])
        when = time.strftime("%H:%M", time.localtime(float(note["since"])))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pid = disk.lock_holder(path)
        return f"another program (process {pid} on this machine)" if pid else "another program"
    where = "this machine" if host == socket.gethostname() else ascii(host).strip("'")
    return f"another qwen-fetch (process {owner} on {where}, since {when})"


def _note(lock: Path) -> Path:
    return lock.with_suffix(".holder")
