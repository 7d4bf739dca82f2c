"""What digests were read from this disk, and when, so that an untouched file need not be read again.

The record lies in the repo's own folder in the cache, in a place that Hub clients neither count nor check, and goes
when the repo is deleted. It is only ever a saving: an entry holds as long as size, times of change and inode of the
file are what they were, and without the record everything is simply read again.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from qwen_fetch.base.integrity import hash_file
from qwen_fetch.cache.disk import identity, read_small, replace_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.cache.store import OnDisk, Store

__all__ = ["Memory", "Read", "survey"]

_FORMAT = 2


class Read(NamedTuple):
    """A file as it was when it was read.

    Attributes:
        size: In bytes.
        mtime_ns: Time of the last change of its bytes, nanoseconds.
        ctime_ns: Time of the last change of anything about it, nanoseconds.
        inode: Its number on the file system.
        digest: What its bytes gave, in hex.
        when: When it was read, seconds since 1970.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    digest: str
    when: float


class Memory:
    """The digests read for one repo. Safe to use from any thread.

    Args:
        store: The repo's place in the cache.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._file = store.own / "digests.json"
        self._lock = threading.Lock()
        self._known = self._load()
        self._is_new = False

    def recall(self, path: Path, *, renamed: bool = False) -> Read | None:
        """What was read from the file at `path`, if it has not been touched since.

        Args:
            path: The file.
            renamed: It was given another name meanwhile, by us: that changes its ctime and nothing else.
        """
        known = self._known.get(self._key(path))
        try:
            now = identity(path)
        except OSError:
            return None
        if known is None or (known.size, known.mtime_ns, known.inode) != (now.size, now.mtime_ns, now.inode):
            return None
        return known if renamed or known.ctime_ns == now.ctime_ns else None

    def digest(
        self, path: Path, file: RepoFile, on_bytes: Callable[[int], None] = lambda _: None, *, again: bool = False
    ) -> str:
        """The digest of the file at `path`, of the kind that `file` has; reads it unless it is remembered.

        Args:
            path: What to read.
            file: What it should be.
            on_bytes: Called with the number of bytes done by each step.
            again: Read it even if it is remembered.

        Raises:
            OSError: It cannot be read.
        """
        if not again and (known := self.recall(path)) and len(known.digest) == len(file.digest.hex):
            on_bytes(known.size)
            return known.digest
        before = identity(path)
        hasher = file.digest.hasher(before[0])
        hash_file(path, hasher, 0, None, on_bytes)
        if identity(path) == before:  # else it is being written, and what was read is of no moment in its life
            self._note(path, Read(*before, hasher.hexdigest(), time.time()))
        return hasher.hexdigest()

    def add(self, path: Path, digest: str) -> None:
        """Remember a digest that was just computed from the file at `path`."""
        with suppress(OSError):
            self._note(path, Read(*identity(path), digest, time.time()))

    def save(self) -> None:
        """Write it down, together with what others wrote meanwhile; a failure only costs the saving."""
        with self._lock, suppress(OSError):
            if not self._is_new:
                return
            merged = self._load()
            for key, read in self._known.items():
                if key not in merged or merged[key].when < read.when:
                    merged[key] = read
            replace_text(self._file, json.dumps({"format": _FORMAT, "files": merged}, indent=1), self._store.cache_dir)
            self._is_new = False

    def _note(self, path: Path, read: Read) -> None:
        with self._lock:
            self._known[self._key(path)] = read
            self._is_new = True

    def _key(self, path: Path) -> str:
        repo = str(self._store.repo) + os.sep
        text = str(path)
        return text[len(repo) :].replace(os.sep, "/") if text.startswith(repo) else text

    def _load(self) -> dict[str, Read]:
        try:
            record = json.loads(read_small(self._file))
            if record["format"] != _FORMAT:
                return {}
            return {
                str(key): Read(int(size), int(mtime), int(ctime), int(inode), str(digest), float(when))
                for key, (size, mtime, ctime, inode, digest, when) in record["files"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}


def survey(store: Store, memory: Memory, commit: str, files: Sequence[RepoFile]) -> dict[str, OnDisk]:
    """What the disk holds of each file, by its path, and whether a stored file is remembered as wrong."""
    disk = store.survey(commit, files)
    for file in files:
        if disk[file.path].blob == file.size:
            known = memory.recall(store.place(commit, file))
            if known and known.digest != file.digest.hex:
                disk[file.path] = replace(disk[file.path], wrong=True)
    return disk
