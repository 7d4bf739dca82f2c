"""A file on its way: a contiguous prefix on disk that only grows at its end, hashed as it grows.

The length of the partial is the resume point; there is no other record that could lag behind it.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from qwen_fetch.base.integrity import hash_file
from qwen_fetch.cache import disk
from qwen_fetch.cache.inspection import received

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qwen_fetch.base.files import RepoFile

__all__ = ["Partial"]

_STEP = 1 << 20  # bytes that are written and then hashed: they are still in the processor's cache


class Partial:
    """The prefix of `file` at `path`, open for appending.

    One thread at a time may `append`; another may `catch_up` meanwhile. Bytes that were on disk before (a
    resumed prefix) are hashed by `catch_up`, so that the line need not wait for the disk; as soon as it has
    reached the end, `append` hashes what it writes.

    Args:
        path: Where the prefix lies, or will.
        file: What it is to become.
        keep: Whether bytes that are there are kept (resume) or thrown away.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, file: RepoFile, *, keep: bool = True) -> None:
        self.path = path
        self.file = file
        disk.make_folder(path.parent, path.parent.parent)
        self._descriptor = disk.open_growing(path)
        there = os.fstat(self._descriptor).st_size
        good = received(path) if keep and there <= file.size else 0
        if good < there:
            os.ftruncate(self._descriptor, good)
        self._lock = threading.Lock()
        self._open = threading.Lock()  # held while the descriptor must stay what it is
        self._flushed = 0
        self._hasher = file.digest.hasher(file.size)
        self._committed = os.lseek(self._descriptor, 0, os.SEEK_END)
        self._hashed = 0
        self._live = self._committed == 0

    @property
    def committed(self) -> int:
        """Bytes on disk, from the file's first byte."""
        return self._committed

    @property
    def hashed(self) -> int:
        """Bytes of these that the digest covers so far."""
        return self._committed if self._live else self._hashed

    def append(self, piece: memoryview | bytes | bytearray) -> None:
        """Write the next bytes.

        Raises:
            OSError: The disk is full or fails; the bytes before are kept.
        """
        view = memoryview(piece)
        while view:
            written = os.write(self._descriptor, view[:_STEP])
            # `catch_up` goes live under the same lock: these bytes are hashed here or read there, never neither.
            with self._lock:
                live = self._live
                self._committed += written
            if live:
                self._hasher.update(view[:written])
            view = view[written:]

    def catch_up(self, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """Hash what is on disk and not hashed yet, until nothing is left.

        Raises:
            OSError: The disk fails, or the file is shorter than it was.
        """
        while True:
            with self._lock:
                end = self._committed
                if self._hashed == end or self._live:
                    self._live = True
                    return
            read = hash_file(self.path, self._hasher, self._hashed, end, on_bytes)
            self._hashed += read
            if self._hashed < end:
                raise OSError(f"{self.path.name} became shorter while it was being written")

    def is_right(self) -> bool:
        """Whether the file is whole and has its digest. Everything must be hashed."""
        return self.hashed == self.file.size and self._hasher.hexdigest() == self.file.digest.hex

    @property
    def intact(self) -> bool:
        """Whether the file on disk is still the one that is being written, and as long as what was written."""
        return disk.is_same_file(self.path, self._descriptor, self._committed)

    def reopen(self) -> None:
        """Begin again with a new file, after somebody else has changed or removed this one."""
        self.close()
        with self._open:
            self._descriptor = disk.open_growing(self.path)
        self.restart()

    def restart(self) -> None:
        """Throw the bytes away and begin again."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._hasher = self.file.digest.hasher(self.file.size)
        self._committed = self._hashed = self._flushed = 0
        self._live = True

    @property
    def unflushed(self) -> int:
        """Bytes written that the disk may not have stored for good."""
        return self._committed - self._flushed

    def flush(self) -> None:
        """Have the disk store the bytes for good, so that a power cut cannot empty a file with a final name.

        May be called from any thread, also beside `append`.
        """
        with self._open:
            if self._descriptor >= 0:
                committed = self._committed
                disk.flush(self._descriptor)
                self._flushed = committed

    def close(self) -> None:
        """Let go of the file; what was written stays."""
        with self._open:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
