"""What a volume holds and what it can do: room, limits, links; told by the volume that really has the path."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_fetch.base.units import size_text
from qwen_fetch.cache.disk.names import clone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "clones_work",
    "file_size_limit",
    "file_system",
    "free_bytes",
    "free_entries",
    "hard_links_work",
    "is_one_volume",
    "symlinks_work",
]

_FAT_LIMIT = (4 << 30) - 1
_FAT = {"vfat", "msdos", "fat", "fat32"}  # as Linux, macOS and Windows call it
_MOUNT = re.compile(r".* on (.+) \(([^,)]+)")  # a line of macOS' `mount`
_OCTAL = re.compile(r"\\([0-7]{3})")  # a blank in the name of a folder, in /proc/mounts


def free_bytes(folder: Path) -> int:
    """Free space on the file system that holds, or will hold, `folder`."""
    return shutil.disk_usage(_standing(folder)).free


def free_entries(folder: Path) -> int | None:
    """How many more files (inodes) this user may make there; None where the file system has no such bound."""
    if sys.platform != "win32":
        with suppress(OSError):
            told = os.statvfs(_standing(folder))
            return told.f_favail if told.f_files else None
    return None


def file_size_limit(folder: Path, size: int) -> str:
    """Why a file of `size` bytes cannot be stored in `folder`, in words; empty where nothing is known against it."""
    if size > _FAT_LIMIT and file_system(folder) in _FAT:
        return "It is FAT32, which ends at 4 GiB a file."
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not on Windows

        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit not in {resource.RLIM_INFINITY, -1} and limit < size:
            return f"This shell limits files to {size_text(limit)} (ulimit -f)."
    return ""


def file_system(folder: Path) -> str:
    """The type of the file system of a folder, in the system's word and lower case; empty where it does not tell."""
    best, kind = Path(), _kind_on_windows(folder)
    for place, name in _mounts():
        if folder.is_relative_to(place) and (not kind or place.is_relative_to(best)):
            best, kind = place, name
    return kind


def _mounts() -> Iterator[tuple[Path, str]]:
    """Where something is mounted, and of which type it is; what was mounted over another comes later."""
    with suppress(OSError, subprocess.SubprocessError):
        if sys.platform == "darwin":
            lines = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=5, check=True).stdout
            yield from ((Path(match[1]), match[2]) for match in map(_MOUNT.match, lines.splitlines()) if match)
        else:
            for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
                _, place, name, *_ = line.split(" ")
                yield Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), place)), name


def _kind_on_windows(folder: Path) -> str:
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - heavy

        kernel = ctypes.WinDLL("kernel32")
        root, name = ctypes.create_unicode_buffer(1024), ctypes.create_unicode_buffer(64)
        if kernel.GetVolumePathNameW(str(folder), root, len(root)) and kernel.GetVolumeInformationW(
            root, None, 0, None, None, None, name, len(name)
        ):
            return name.value.lower()
    return ""


def is_one_volume(path: Path, folder: Path) -> bool:
    """Whether a file lies on the volume that holds, or will hold, `folder`.

    Raises:
        OSError: There is no such file.
    """
    return path.stat().st_dev == _standing(folder).stat().st_dev


def symlinks_work(folder: Path) -> bool:
    """Whether symlinks can be made in `folder`; on Windows they need Developer Mode or an administrator.

    Raises:
        OSError: Nothing at all can be made there.
    """
    return _try(folder, lambda file, name: name.symlink_to(file))


def hard_links_work(folder: Path) -> bool:
    """Whether a file in `folder` can have a second name: not on FAT and exFAT, nor on some network shares.

    Raises:
        OSError: Nothing at all can be made there.
    """
    return _try(folder, lambda file, name: name.hardlink_to(file))


def clones_work(folder: Path) -> bool:
    """Whether two files in `folder` can share their blocks.

    Raises:
        OSError: Nothing at all can be made there.
    """
    return _try(folder, clone)


def _try(folder: Path, make: Callable[[Path, Path], object]) -> bool:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".probe-") as probe:
        file, name = Path(probe, "file"), Path(probe, "name")
        file.write_bytes(b"probe")
        try:
            return make(file, name) is not False
        except (OSError, NotImplementedError):
            return False


def _standing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there already."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
