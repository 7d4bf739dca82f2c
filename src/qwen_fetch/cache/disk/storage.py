"""What the disk has stored for good, and what tells a file that was not touched since from one that was."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Identity", "first_hole", "flush", "identity", "is_same_file"]


class Identity(NamedTuple):
    """What tells a file that was not touched since from one that was.

    Attributes:
        size: In bytes.
        mtime_ns: Time of the last change of its bytes, nanoseconds; anybody can set it.
        ctime_ns: Time of the last change of anything about it, nanoseconds; nobody can set it. On Windows: when it
            was made.
        inode: Its number on the file system.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def identity(path: Path) -> Identity:
    """The identity of the file that programs find at `path`.

    Raises:
        OSError: There is none.
    """
    status = path.stat()
    return Identity(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def is_same_file(path: Path, descriptor: int, size: int) -> bool:
    """Whether the file at `path` is the open one, and has `size` bytes."""
    try:
        there, ours = path.stat(), os.fstat(descriptor)
    except OSError:
        return False
    return os.path.samestat(there, ours) and there.st_size == size


def flush(descriptor: int) -> None:
    """Have the disk store what was written for good.

    Raises:
        OSError: The disk is full or fails.
    """
    os.fsync(descriptor)


def first_hole(descriptor: int, size: int) -> int:
    """Where the first hole of an open file begins; its size when it has none, or the system cannot tell.

    A partial that another program preallocated reads as zeros from there on: those bytes were never received.
    """
    if not hasattr(os, "SEEK_HOLE"):
        return size
    try:
        return min(size, os.lseek(descriptor, 0, os.SEEK_HOLE))
    except OSError:
        return size
