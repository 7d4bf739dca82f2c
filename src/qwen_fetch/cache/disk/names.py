"""Names of files: given in one step, taken away, made to lead elsewhere or shared; patiently, where others look on."""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from qwen_fetch.cache.disk.regular import make_folder
from qwen_fetch.cache.disk.system import holders

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "clone",
    "give_name",
    "leads_somewhere",
    "leads_to",
    "point",
    "remove",
    "replace_text",
    "share",
]

_HELD = {5, 32, 33}  # Windows: access denied, sharing violation, lock violation
_PAUSES = (*(0.05,) * 20, *(0.5,) * 118)  # seconds: a minute in all
_SAID = 22  # after so many: two seconds
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file, copied when either is written to


def give_name(source: Path, target: Path, on_wait: Callable[[str], None] = lambda _: None) -> None:
    """Rename a file on one file system, in one step; what stood at `target` is replaced.

    Args:
        source: The file.
        target: Its new name.
        on_wait: Told, in words, whom it waits for, should that take more than a moment.

    Raises:
        OSError: The file system refuses; the file is still where it was.
    """

    def say() -> None:
        who = holders(source) or holders(target) or "another program (a virus scanner?)"
        on_wait(f"{source.name} is held by {who}: waiting for it, a minute at most")

    _patiently(lambda: source.replace(target), say)


def remove(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file or a link.

    Raises:
        OSError: The file system refuses.
    """
    _patiently(lambda: path.unlink(missing_ok=missing_ok))


def _patiently(act: Callable[[], object], say: Callable[[], None] = lambda: None) -> None:
    """Do what Windows refuses while a virus scanner or an indexer looks at a fresh file; a minute long at most."""
    for number, pause in enumerate(_PAUSES):
        try:
            act()
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _HELD:
                raise
            if number == _SAID:
                say()
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


def leads_somewhere(link: Path) -> bool:
    """Whether a path leads to something that this system can open."""
    try:
        return link.exists()
    except OSError:  # Windows: a link of a kind that it is told not to follow
        return False


def leads_to(link: Path, target: Path) -> bool:
    """Whether `link` is a symlink that ends at `target`, and this system can follow it."""
    try:
        return link.is_symlink() and link.samefile(target)
    except OSError:
        return False


def share(source: Path, target: Path, *, ours: bool = False) -> str:
    """Make `target` a copy that shares its blocks with `source`, or a second name of it; no byte is copied.

    Args:
        source: The file.
        target: A free name on the same volume.
        ours: The file is one of the cache itself: whoever may write to it may write to its second name too.

    Returns:
        How, in words; empty where neither can be done: another file system, or a file that others may write to.
    """
    if clone(source, target):
        return "shared blocks"
    try:
        if not ours and not _is_only_ours(source):
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
