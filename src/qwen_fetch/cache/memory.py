"""What digests were read from this disk, and when, so that an untouched file need not be read again.

The record lies in the repo's own folder in the cache, in a place that Hub clients neither count nor check, and goes
when the repo is deleted. It is only ever a saving: an entry holds as long as size and times of change of the file are
what they were, and without the record everything is simply read again.
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
from qwen_fetch.cache.disk import Identity, identity, read_small, replace_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.cache.store import OnDisk, Store

__all__ = ["Memory", "Read", "survey"]

_FORMAT = 3


class Read(NamedTuple):
    """A file as it was when it was read.

    Attributes:
        identity: How it was then.
        digest: What its bytes gave, in hex.
        when: When it was read, seconds since 1970.
    """

    identity: Identity
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
        self._places: dict[str, list[str]] | None = None  # by digest; made when it is asked for
        self._is_new = False

    def recall(self, path: Path) -> Read | None:
        """What was read from the file at `path`, if it has not been touched since."""
        known = self._known.get(self._key(path))
        try:
            return known if known and identity(path).is_untouched(known.identity) else None
        except OSError:
            return None

    def is_untouched(self, path: Path, known: Read) -> bool:
        """Whether its bytes are what was read, after we have given it another name: that changes its ctime."""
        with suppress(OSError):
            now = identity(path)
            return now[:2] == known.identity[:2]
        return False

    def standing(self, file: RepoFile) -> Path | None:
        """Where in this repo the bytes of a file were read and still lie; None where they do not."""
        if self._places is None:
            self._places = {}
            for key, read in self._known.items():
                self._places.setdefault(read.digest, []).append(key)
        places = (self._store.repo / key for key in self._places.get(file.digest.hex, ()) if _is_inside(key))
        return next(filter(self.recall, places), None)

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
            on_bytes(known.identity.size)
            return known.digest
        before = identity(path)
        hasher = file.digest.hasher(before.size)
        hash_file(path, hasher, 0, None, on_bytes)
        if identity(path) == before:  # else it is being written, and what was read is of no moment in its life
            self._note(path, Read(before, hasher.hexdigest(), time.time()))
        return hasher.hexdigest()

    def add(self, path: Path, digest: str, when: float | None = None) -> None:
        """Remember a digest that was computed from the file at `path`: just now, or `when` (seconds since 1970)."""
        with suppress(OSError):
            self._note(path, Read(identity(path), digest, time.time() if when is None else when))

    def save(self) -> None:
        """Write it down, together with what others wrote meanwhile; a failure only costs the saving."""
        with self._lock, suppress(OSError):
            if not self._is_new:
                return
            merged = self._load()
            for key, read in self._known.items():
                if key not in merged or merged[key].when <= read.when:
                    merged[key] = read
            files = {key: (*read.identity, read.digest, read.when) for key, read in merged.items()}
            replace_text(self._file, json.dumps({"format": _FORMAT, "files": files}, indent=1), self._store.cache_dir)
            self._is_new = False

    def _note(self, path: Path, read: Read) -> None:
        with self._lock:
            self._known[self._key(path)] = read
            self._places = None
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
                str(key): Read(Identity(int(size), int(mtime), int(ctime)), str(digest), float(when))
                for key, (size, mtime, ctime, digest, when) in record["files"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}


def survey(store: Store, memory: Memory, commit: str, files: Sequence[RepoFile]) -> dict[str, OnDisk]:
    """What the disk holds of each file, by its path, and whether a stored file is remembered as wrong.

    Bytes that lie in the snapshot of another commit, because there are no symlinks, are here: only a name is missing.
    """
    disk = store.survey(commit, files)
    for file in files:
        there = disk[file.path]
        if there.blob == file.size:
            known = memory.recall(store.place(commit, file))
            if known and known.digest != file.digest.hex:
                disk[file.path] = replace(there, wrong=True)
        elif there.blob is None and memory.standing(file):
            disk[file.path] = replace(there, blob=file.size)
    return disk


def _is_inside(key: str) -> bool:
    """Whether it names a file of this repo that may be moved or linked: keys come from a file."""
    parts = key.split("/")
    return parts[0] in {"blobs", "snapshots"} and ".." not in parts
