"""All that differs between operating systems and file systems, and nothing else does: callers know no platform.

Each function does the same everywhere, or says in its result that it cannot be done here.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.units import size_text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "CAN_REMOVE_OPEN",
    "Identity",
    "check_file",
    "check_folder",
    "clone",
    "file_size",
    "file_size_limit",
    "first_hole",
    "flush",
    "foreign_owner",
    "free_bytes",
    "give_name",
    "identity",
    "is_junction",
    "is_running",
    "is_same_file",
    "lock_holder",
    "make_folder",
    "open_growing",
    "point",
    "read_small",
    "remove",
    "replace_text",
    "share",
    "symlinks_work",
]

CAN_REMOVE_OPEN = os.name != "nt"
"""Whether what is open can be removed."""

_HELD = {5, 32, 33}  # Windows: access denied, sharing violation, lock violation
_PAUSES = (*(0.05,) * 20, *(0.5,) * 118)  # seconds: a minute in all
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, copied when either is written to
_FAT_LIMIT = (4 << 30) - 1
_FAT = {"vfat", "msdos"}


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


def file_size(path: Path) -> int | None:
    """Size in bytes of the regular file at `path`; None where there is none, or something else, or a link."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def check_folder(folder: Path) -> None:
    """Whether what stands at `folder`, if anything does, is a folder itself and no link to one.

    Raises:
        Problem: (not-ours) It is something else.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = folder.lstat().st_mode
        if not stat.S_ISDIR(mode) or is_junction(folder):
            raise Problem(catalogue.FOREIGN_FILE, path=folder, what=_what(mode), wanted="folder")


def check_file(path: Path) -> None:
    """Whether what stands at `path`, if anything does, is a regular file.

    Raises:
        Problem: (not-ours) It is something else.
    """
    with suppress(FileNotFoundError):
        _check_regular(path, path.lstat(), os.O_RDONLY)


def make_folder(folder: Path, root: Path) -> None:
    """Make a folder below `root`, whatever of the way there is missing; no link on the way is followed.

    Raises:
        OSError: It cannot be made.
        Problem: (not-ours) Something else stands on the way.
    """
    root.mkdir(parents=True, exist_ok=True)
    for depth in range(1, len(parts := folder.relative_to(root).parts) + 1):
        place = root.joinpath(*parts[:depth])
        place.mkdir(exist_ok=True)
        check_folder(place)


def open_growing(path: Path) -> int:
    """A descriptor of the file at `path`, made if it is not there, to be read and to be written at its end.

    Raises:
        OSError: It cannot be opened.
        Problem: (not-ours) It is no regular file, or also has a name elsewhere.
    """
    return _open_regular(path, os.O_RDWR | os.O_CREAT)


def read_small(path: Path, most: int = 64 << 20) -> str:
    """The text of a small file of ours.

    Raises:
        OSError: It is not there, cannot be read, is no regular file, or larger than `most` bytes.
        UnicodeDecodeError: It is no text.
    """
    try:
        descriptor = _open_regular(path, os.O_RDONLY)
    except Problem as problem:
        raise OSError(errno.EINVAL, problem.what) from problem
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        text = file.read(most + 1)
    if len(text) > most:
        raise OSError(errno.EFBIG, f"{path} is larger than {most:,} bytes")
    return text.decode("utf-8")


def _open_regular(path: Path, flags: int) -> int:
    """Open without following a link or waiting for a pipe, and look at what was opened."""
    flags |= getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    if hasattr(os, "O_NOFOLLOW"):
        flags |= os.O_NOFOLLOW
    with suppress(FileNotFoundError):  # what is no file is not even opened: a device may act on that
        _check_regular(path, path.lstat(), flags)
    descriptor = os.open(path, flags, 0o666)
    try:
        _check_regular(path, os.fstat(descriptor), flags)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: Path, status: os.stat_result, flags: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Problem(catalogue.FOREIGN_FILE, path=path, what=_what(status.st_mode), wanted="file")
    if flags & os.O_RDWR and status.st_nlink > 1:  # what is written here would change there
        raise Problem(catalogue.FOREIGN_FILE, path=path, what="a file that has a second name", wanted="file")


def _what(mode: int) -> str:
    kinds = (
        (stat.S_ISLNK, "a link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISREG, "a file"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((words for test, words in kinds if test(mode)), "a device")


def is_junction(path: Path) -> bool:
    """Whether it is a folder of Windows that leads elsewhere."""
    status = path.lstat()
    return getattr(status, "st_reparse_tag", 0) == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)


def flush(descriptor: int) -> None:
    """Have the disk store what was written for good.

    Raises:
        OSError: The disk is full or fails.
    """
    os.fsync(descriptor)


def give_name(source: Path, target: Path) -> None:
    """Rename a file on one file system, in one step; what stood at `target` is replaced.

    Raises:
        OSError: The file system refuses; the file is still where it was.
    """
    _patiently(lambda: source.replace(target))


def remove(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file or a link.

    Raises:
        OSError: The file system refuses.
    """
    _patiently(lambda: path.unlink(missing_ok=missing_ok))


def _patiently(act: Callable[[], object]) -> None:
    """Do what Windows refuses while a virus scanner or an indexer looks at a fresh file; a minute long at most."""
    for pause in _PAUSES:
        try:
            act()
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _HELD:
                raise
            time.sleep(pause)
        else:
            return
    act()


def replace_text(path: Path, text: str, root: Path) -> None:
    """Write a small file in one step: whoever reads it sees the old text or the new one, and no part of either.

    Args:
        path: The file; a link in its place is replaced, not followed.
        text: What it is to hold.
        root: The folder below which no link is followed.

    Raises:
        OSError: It cannot be written; what was there is still there.
        Problem: (not-ours) Something stands on the way.
    """
    make_folder(path.parent, root)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with part.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
        give_name(part, path)
    finally:
        remove(part, missing_ok=True)


def point(link: Path, target: Path) -> None:
    """Make `link` a symlink that leads to `target`, by the way from its own folder, so that the cache can be moved.

    Raises:
        OSError: There is something at `link`, or symlinks cannot be made here.
    """
    link.symlink_to(os.path.relpath(target, link.parent))


def symlinks_work(folder: Path) -> bool:
    """Whether symlinks can be made in `folder`; on Windows they need Developer Mode or an administrator.

    Raises:
        OSError: Nothing at all can be made there.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".probe-") as probe:
        try:
            Path(probe, "link").symlink_to(Path(probe, "target"))
        except (OSError, NotImplementedError):
            return False
    return True


def is_same_file(path: Path, descriptor: int, size: int) -> bool:
    """Whether the file at `path` is the open one, and has `size` bytes."""
    try:
        there, ours = path.stat(), os.fstat(descriptor)
    except OSError:
        return False
    return os.path.samestat(there, ours) and there.st_size == size


def share(source: Path, target: Path) -> str:
    """Make `target` a copy that shares its blocks with `source`, or a second name of it; no byte is copied.

    Returns:
        How, in words; empty where neither can be done: another file system, or a file that others may write to.
    """
    if clone(source, target):
        return "shared blocks"
    try:
        if not _is_only_ours(source):
            return ""
        os.link(source, target)
    except (OSError, NotImplementedError):
        return ""
    return "hard link"


def _is_only_ours(path: Path) -> bool:
    """Whether nobody else may change the bytes of a file, as far as the system tells."""
    status = path.stat()
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def clone(source: Path, target: Path) -> bool:
    """Make `target` a copy that shares its blocks with `source` until either changes (btrfs, XFS, bcachefs)."""
    if sys.platform == "linux":
        import fcntl  # noqa: PLC0415 - not there on Windows

        try:
            with source.open("rb") as old, target.open("xb") as new:
                fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:  # another file system, or one that cannot
            with suppress(OSError):
                target.unlink()
        else:
            return True
    return False


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


def free_bytes(folder: Path) -> int:
    """Free space on the file system that holds, or will hold, `folder`."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def file_size_limit(folder: Path, size: int) -> str:
    """Why a file of `size` bytes cannot be stored in `folder`, in words; empty where nothing is known against it."""
    if size > _FAT_LIMIT and _file_system(folder) in _FAT:
        return "It is FAT32, which ends at 4 GiB a file."
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not on Windows

        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit not in {resource.RLIM_INFINITY, -1} and limit < size:
            return f"This shell limits files to {size_text(limit)} (ulimit -f)."
    return ""


def foreign_owner(path: Path) -> tuple[int, int] | None:
    """The user number of a file's owner and our own where they differ; None where not, or where there are none."""
    if not hasattr(os, "getuid"):
        return None
    owner, us = path.stat().st_uid, os.getuid()
    return None if owner == us else (owner, us)


def is_running(process: int) -> bool | None:
    """Whether a process of this machine may still be there; None where the system does not tell without harm."""
    if os.name == "nt":  # to ask would be to end it
        return None
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def lock_holder(path: Path) -> int | None:
    """The process that holds a flock on `path`, where the kernel tells (Linux)."""
    if sys.platform == "linux":
        with suppress(OSError):
            status = path.stat()
            rows = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
            device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
            return next((int(row[4]) for row in rows if len(row) > 5 and row[5] == device), None)
    return None


def _file_system(folder: Path) -> str:
    """The type of the file system of a folder, where the system tells (Linux)."""
    best, kind = "", ""
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
            _, place, name, *_ = line.split(" ")
            if folder.is_relative_to(place) and len(place) >= len(best):
                best, kind = place, name
    return kind
