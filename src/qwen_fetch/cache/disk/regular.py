"""Regular files and real folders, and nothing else: no link is followed that we did not make, no pipe is waited for."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "check_file",
    "check_folder",
    "file_size",
    "is_foreign_link",
    "is_junction",
    "make_folder",
    "open_growing",
    "read_small",
]

_LINK_MOST = 2048  # bytes of a link that is written as a file
_LINK_SIGNS = (b"XSym\n", b"!<symlink>", b"IntxLNK\x01")
_TARGET = re.compile(rb"(?:\.\.[/\\])+blobs[/\\][0-9a-f]{40,64}\s*")


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


def is_junction(path: Path) -> bool:
    """Whether it is a folder of Windows that leads elsewhere."""
    status = path.lstat()
    return getattr(status, "st_reparse_tag", 0) == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)


def is_foreign_link(path: Path) -> bool:
    """Whether it is a link of another system, as a regular file: what a share, an archive or a copy made of one.

    Samba and macOS write ``XSym``, Cygwin ``!<symlink>``, Windows' NFS ``IntxLNK``; git and others the target alone.
    """
    try:
        size = path.lstat().st_size
        if not 0 < size <= _LINK_MOST or not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            text = file.read(_LINK_MOST).replace(b"\0", b"")
    except OSError:
        return False
    return text.startswith(_LINK_SIGNS) or _TARGET.fullmatch(text) is not None


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
