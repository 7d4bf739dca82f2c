"""Who owns a file, who holds a lock, which process still runs: as far as the system tells."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["foreign_owner", "is_running", "lock_holder"]


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
