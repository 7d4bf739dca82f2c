"""Which names and paths a system takes: told before the first byte, and not when a file is to get its final name."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_fetch.cache.disk.volume import file_system

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LONGEST_ON_WINDOWS", "case_matters", "longest_name", "longest_path", "takes_windows_names_only", "unfit"]

LONGEST_ON_WINDOWS = 260
"""Characters of a path, with the drive and an end mark, where long paths are not switched on."""

_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_WINDOWS_DISKS = {"vfat", "msdos", "exfat", "ntfs3"}  # as Linux and macOS call those that keep to Windows' names


def unfit(paths: Iterable[str], *, windows: bool, case: bool, name: int) -> tuple[str, str] | None:
    """The first path of a repo that cannot be stored beside the others, and why; None where all can.

    Args:
        paths: Inside the repo, with slashes.
        windows: Whether Windows' rules for names hold.
        case: Whether names that differ in case only are two names.
        name: The most bytes that a name may have.
    """
    seen: dict[str, str] = {}
    for path in paths:
        for part in path.split("/"):
            if len(part.encode()) > name:
                return path, f"a name may have {name} bytes there"
            if windows and _DEVICE.fullmatch(part):
                return path, "that is the name of a device on Windows"
            if windows and (part.endswith((".", " ")) or _FORBIDDEN.search(part)):
                return path, "Windows takes no name with such a character, or with a dot or a blank at its end"
        other = seen.setdefault(path if case else path.casefold(), path)
        if other != path:
            return path, f"it and {other} differ in case only, and are one file there"
    return None


def takes_windows_names_only(folder: Path) -> bool:
    """Whether names have to be such as Windows takes."""
    return os.name == "nt" or file_system(folder) in _WINDOWS_DISKS


def case_matters(folder: Path) -> bool:
    """Whether names in `folder` that differ in case only are two names.

    Raises:
        OSError: Nothing at all can be made there.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".probe-") as probe:
        Path(probe, "name").touch()
        return not Path(probe, "NAME").exists()


def longest_name(folder: Path) -> int:
    """The most bytes that a name in `folder` may have."""
    if sys.platform != "win32":
        with suppress(OSError, ValueError):
            return os.pathconf(folder, "PC_NAME_MAX")
    return 255


def longest_path() -> int | None:
    """The most characters that a whole path may have; None where that is no bound to think of."""
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - heavy

        with suppress(OSError, AttributeError):
            if ctypes.WinDLL("ntdll").RtlAreLongPathsEnabled() & 1:
                return None
    return LONGEST_ON_WINDOWS - 1 if os.name == "nt" else None
