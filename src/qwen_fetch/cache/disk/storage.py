"""What the disk has stored for good, and what tells a file that was not touched since from one that was."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Identity", "first_hole", "flush", "flush_folder", "identity", "is_same_file"]


class Identity(NamedTuple):
    """What tells a file that was not touched since from one that was.

    No number of it is one that a mount makes up, as inodes are on FAT, exFAT and many a network share.

    Attributes:
        size: In bytes.
        mtime_ns: Time of the last change of its bytes, nanoseconds; anybody can set it.
        ctime_ns: Time of the last change of anything about it, nanoseconds; nobody can set it. 0, or the same as
            `mtime_ns` after the next mount, where the file system does not keep it.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    def is_untouched(self, since: Identity) -> bool:
        """Whether a file that was `since` then, and is this now, was left alone meanwhile.

        A time of change that equals that of the bytes, which is the one known, was forgotten by the file system: to
        set the one back changes the other.
        """
        same = (self.size, self.mtime_ns) == (since.size, since.mtime_ns)
        return same and self.ctime_ns in {since.ctime_ns, self.mtime_ns}


def identity(path: Path) -> Identity:
    """The identity of the file that programs find at `path`.

    Raises:
        OSError: There is none.
    """
    status = path.stat()
    return Identity(status.st_size, status.st_mtime_ns, _change_time(path, status))


def _change_time(path: Path, status: os.stat_result) -> int:
    if sys.platform == "win32":  # Python's is the time when it was made
        import ctypes  # noqa: PLC0415 - heavy

        kernel = ctypes.WinDLL("kernel32")
        kernel.CreateFileW.restype = ctypes.c_void_p
        times = (ctypes.c_int64 * 5)()  # made, read, bytes changed, anything changed, attributes
        everybody, existing, also_folders = 7, 3, 0x02000000
        handle = kernel.CreateFileW(str(path), 0x80, everybody, None, existing, also_folders, None)
        if handle not in {None, ctypes.c_void_p(-1).value}:
            told = kernel.GetFileInformationByHandleEx(ctypes.c_void_p(handle), 0, times, ctypes.sizeof(times))
            kernel.CloseHandle(ctypes.c_void_p(handle))
            if told:
                return int(times[3]) * 100
    return status.st_ctime_ns


def is_same_file(path: Path, descriptor: int, size: int) -> bool:
    """Whether the file at `path` is the open one, and has `size` bytes."""
    try:
        there, ours = path.stat(), os.fstat(descriptor)
    except OSError:
        return False
    return os.path.samestat(there, ours) and there.st_size == size


def flush(descriptor: int) -> None:
    """Have the disk store what was written, and how much of it there is, for good.

    Raises:
        OSError: The disk is full or fails.
    """
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415 - not on Windows

        with suppress(OSError):  # a share, or a disk that does not know the request
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # there, fsync only reaches the disk's own memory
            return
    os.fsync(descriptor)


def flush_folder(folder: Path) -> None:
    """Have the disk store for good which names a folder holds, where the system can be asked for that."""
    if sys.platform != "win32":  # NTFS writes names down before it goes on
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                flush(descriptor)
            finally:
                os.close(descriptor)


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
