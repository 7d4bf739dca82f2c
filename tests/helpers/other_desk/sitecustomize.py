"""The rules of another system or disk, for a program that this folder is on the path of: below HF_HOME, they hold.

OTHER_DESK names them: ``no-symlinks`` (Windows without Developer Mode, exFAT), ``no-hard-links`` (exFAT, some shares),
``held`` (Windows: what any process has open cannot be renamed, replaced or removed).
"""

from __future__ import annotations

import errno
import os
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = set(os.environ.get("OTHER_DESK", "").split())
ROOT = os.path.realpath(os.environ.get("HF_HOME", "/nowhere")) + os.sep
SHARING_VIOLATION = 32


def is_here(path: Any, folder: int | None = None) -> bool:
    place = os.fspath(path)
    if folder is not None:
        place = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), place)  # noqa: PTH115, PTH118 - before all else
    return isinstance(place, str) and os.path.abspath(place).startswith(ROOT)  # noqa: PTH100


def refuse(name: str) -> None:
    act = getattr(os, name)

    @wraps(act)
    def refused(source: Any, target: Any, *more: Any, **options: Any) -> Any:
        if is_here(target):
            raise PermissionError(errno.EPERM, "this system makes no links", target)
        return act(source, target, *more, **options)

    setattr(os, name, refused)


def is_held(path: Any, folder: int | None) -> bool:
    """Whether any process has the file open."""
    try:
        wanted = os.stat(path, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    for process in os.listdir("/proc"):  # noqa: PTH208 - as above
        try:
            numbers = os.listdir(f"/proc/{process}/fd") if process.isdecimal() else []  # noqa: PTH208
        except OSError:
            continue
        for number in numbers:
            try:
                there = os.stat(f"/proc/{process}/fd/{number}")  # noqa: PTH116 - as above
            except OSError:
                continue
            if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    return False


def only_if_free(name: str, count: int) -> None:
    act: Callable[..., Any] = getattr(os, name)

    @wraps(act)
    def patient(*arguments: Any, **options: Any) -> Any:
        folder = options.get("dir_fd")
        for path in arguments[:count]:
            if is_here(path, folder) and not os.path.isdir(path) and is_held(path, folder):  # noqa: PTH112
                error = PermissionError(errno.EACCES, "another process is using it", path)
                error.__dict__["winerror"] = SHARING_VIOLATION
                raise error
        return act(*arguments, **options)

    setattr(os, name, patient)


if "no-symlinks" in RULES:
    refuse("symlink")
if "no-hard-links" in RULES:
    refuse("link")
if "held" in RULES:
    for function, paths in (("rename", 2), ("replace", 2), ("unlink", 1), ("remove", 1)):
        only_if_free(function, paths)
