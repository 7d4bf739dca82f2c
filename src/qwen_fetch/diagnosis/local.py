"""From an error of this machine's file system to a problem that helps: each number has its own words and its remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.door import one_line
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.shell import quoted, set_variable
from qwen_fetch.cache import disk

if TYPE_CHECKING:
    from qwen_fetch.base.problem import Kind
    from qwen_fetch.base.settings import Settings

__all__ = ["local_problem"]


def _numbers(*names: str) -> tuple[int, ...]:
    """Those of these names that this system has."""
    return tuple(getattr(errno, name) for name in names if hasattr(errno, name))


_KINDS: dict[Kind, tuple[int, ...]] = {
    catalogue.DISK_FULL: _numbers("ENOSPC"),
    catalogue.QUOTA: _numbers("EDQUOT"),
    catalogue.READ_ONLY: _numbers("EROFS"),
    catalogue.NOT_ALLOWED: _numbers("EACCES", "EPERM"),
    catalogue.PATH_TOO_LONG: _numbers("ENAMETOOLONG"),
    catalogue.TOO_MANY_OPEN: _numbers("EMFILE", "ENFILE"),
    catalogue.DISK_FAULT: _numbers("EIO", "EUCLEAN", "EBADMSG"),
    catalogue.DISK_GONE: _numbers("ENOTCONN", "ESTALE", "ENODEV", "ENXIO", "ESHUTDOWN", "EHOSTDOWN", "EREMOTEIO"),
    catalogue.FILE_HELD: _numbers("EBUSY", "ETXTBSY"),
    catalogue.TWO_DISKS: _numbers("EXDEV"),
    catalogue.FILE_TOO_LARGE: _numbers("EFBIG"),
}
_OF_NUMBER = {number: kind for kind, numbers in _KINDS.items() for number in numbers}

# Windows' own numbers say more than what Python makes of them.
_WINDOWS_KINDS: dict[Kind, tuple[int, ...]] = {
    catalogue.DISK_FULL: (39, 112),
    catalogue.QUOTA: (1295, 1816),
    catalogue.READ_ONLY: (19, 6009),
    catalogue.NOT_ALLOWED: (5, 1314),
    catalogue.PATH_TOO_LONG: (111, 206),
    catalogue.TOO_MANY_OPEN: (4, 1450),
    catalogue.DISK_FAULT: (23, 29, 30, 483, 1117, 1392, 1393),
    catalogue.DISK_GONE: (15, 21, 53, 55, 59, 64, 67, 121, 433, 1006, 1167, 1231, 1232),
    catalogue.FILE_HELD: (32, 33, 303, 1224),
    catalogue.TWO_DISKS: (17,),
    catalogue.FILE_TOO_LARGE: (223,),
    catalogue.TAKEN_FOR_VIRUS: (225, 226),
}
_OF_WINDOWS = {number: kind for kind, numbers in _WINDOWS_KINDS.items() for number in numbers}


def local_problem(error: OSError, settings: Settings, path: str = "", *, kept: str = "") -> Problem:
    """What it means to the user.

    Args:
        error: What was raised; it has a number.
        settings: Which repo and cache it was about.
        path: The file it was about, where the error does not say.
        kept: What is not lost.
    """
    place = Path(str(error.filename or path or settings.hub_cache))
    kind = _kind(error, place)
    owner, advice, remedy = _rights(place) if kind is catalogue.NOT_ALLOWED else ("", "", "")
    detail = (error.strerror or one_line(str(error)) or "no further detail").lower()
    home = "D:\\huggingface" if os.name == "nt" else "/path/on/another/disk"
    return Problem(
        kind,
        kept=kept,
        path=place,
        detail=f"The system says: {detail}." if kind in {catalogue.DISK_FULL, catalogue.FILE_TOO_LARGE} else detail,
        cleanup=settings.command("--cleanup"),
        owner=owner,
        advice=advice,
        remedy=remedy,
        length=len(str(place)),
        holder=disk.holders(place) or "another program",
        limit=disk.open_file_limit() or "as many as the system allows",
        set_home=set_variable("HF_HOME", home),
        size="the size that was to be written",
    )


def _kind(error: OSError, place: Path) -> Kind:
    number = getattr(error, "winerror", None)
    kind = _OF_WINDOWS.get(number) if number else None
    kind = kind or _OF_NUMBER.get(error.errno or 0, catalogue.FILE_SYSTEM)
    if kind is catalogue.DISK_FULL and disk.free_entries(place) == 0:
        return catalogue.NO_ENTRIES
    if kind is catalogue.FILE_SYSTEM and os.name == "nt" and len(str(place)) >= disk.LONGEST_ON_WINDOWS:
        return catalogue.PATH_TOO_LONG  # Windows then says that there is no such file
    return kind


def _rights(place: Path) -> tuple[str, str, str]:
    """Why not, what to do, and the command for that: it never takes more than what an accident made root's."""
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if os.name == "nt":
        guard = "Windows Security guards the folder (Ransomware protection, controlled folder access)"
        return f"This user has no right to it, or {guard}.", "Allow this program there, or give this user the right", ""
    users = disk.foreign_owner(place)
    name = quoted(str(place))
    if users is None:
        return "Its mode forbids it, or something guards it (SELinux, a container).", "Look at it", f"ls -ldZ {name}"
    owner, us = users
    why = f"It belongs to {owner}, and this is {us}"
    if owner == "root":
        command = f'sudo find {name} -user root -exec chown "$USER" {{}} +'
        return f"{why}: an earlier run with sudo?", "Take back what is root's, and nothing else", command
    return f"{why}.", f"If you share it, ask {owner} to let the group write", f"chmod -R g+rwX {name}"
