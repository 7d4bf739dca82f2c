"""Who owns a file, who holds it or its lock, which process still runs: as far as the system tells."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["foreign_owner", "holders", "is_running", "lock_holder", "open_file_limit"]


def foreign_owner(path: Path) -> tuple[str, str] | None:
    """The name of a file's owner and our own where they differ; None where not, or where there are none."""
    if sys.platform == "win32":
        return None
    else:  # noqa: RET505 - mypy sees no code after a return that its platform takes
        import pwd  # noqa: PLC0415 - not on Windows

        def name(user: int) -> str:
            try:
                return pwd.getpwuid(user).pw_name
            except KeyError:  # a container, or another machine's
                return f"user {user}"

        owner, us = path.lstat().st_uid, os.getuid()
        return None if owner == us else (name(owner), name(us))


def open_file_limit() -> int | None:
    """How many files this process may have open; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    else:  # noqa: RET505 - as above
        import resource  # noqa: PLC0415 - not on Windows

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return None if limit == resource.RLIM_INFINITY else limit


def holders(path: Path) -> str:
    """Which programs have a file open, in words, where Windows' Restart Manager tells; else empty."""
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - heavy
        from ctypes import wintypes  # noqa: PLC0415

        class Program(ctypes.Structure):
            _fields_ = (
                ("process", wintypes.DWORD),
                ("started", wintypes.FILETIME),
                ("name", wintypes.WCHAR * 256),
                ("service", wintypes.WCHAR * 64),
                ("rest", wintypes.DWORD * 4),
            )

        with suppress(OSError, AttributeError):
            manager = ctypes.WinDLL("rstrtmgr")
            session, key = wintypes.DWORD(), ctypes.create_unicode_buffer(33)
            if manager.RmStartSession(ctypes.byref(session), 0, key):
                return ""
            try:
                files = (wintypes.LPCWSTR * 1)(str(path))
                needed, count, reasons = wintypes.UINT(), wintypes.UINT(8), wintypes.DWORD()
                programs = (Program * 8)()
                found = (ctypes.byref(needed), ctypes.byref(count), programs, ctypes.byref(reasons))
                failed = manager.RmRegisterResources(session, 1, files, 0, None, 0, None)
                if not failed and not manager.RmGetList(session, *found):
                    return ", ".join(f"{one.name} (process {one.process})" for one in programs[: count.value])
            finally:
                manager.RmEndSession(session)
    return ""


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
