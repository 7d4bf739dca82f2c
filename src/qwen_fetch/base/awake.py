"""A machine that is left alone with a download must not go to sleep over it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["holder_of", "kept_awake"]

_AFTER = 30.0  # seconds: no machine falls asleep sooner, and most runs are over by then
_CONTINUOUS, _SYSTEM_REQUIRED = 0x80000000, 0x00000001  # Windows: until it is taken back; the system, not the screen


@contextmanager
def kept_awake(*, wanted: bool = True, after: float = _AFTER) -> Iterator[None]:
    """While this lasts, the machine does not go to sleep by itself; where the system cannot be told, nothing happens.

    Who closes the lid or chooses to sleep is obeyed. When this process is killed, the system forgets it.

    Args:
        wanted: Whether it is to be done at all.
        after: Seconds from when on.
    """
    if not wanted:
        yield
        return
    done = threading.Event()
    threading.Thread(target=_hold, args=(done, after), daemon=True, name="awake").start()
    try:
        yield
    finally:
        done.set()


def holder_of(system: str, pid: int) -> tuple[str, ...]:
    """The command that holds a system (as `sys.platform` names it) awake until its input ends; empty: there is none."""
    if system == "darwin":
        return "caffeinate", "-i", "-w", str(pid)
    if system == "linux":
        why = ("--who=qwen-fetch", "--why=A download is under way", "--mode=block")
        return "systemd-inhibit", "--what=idle:sleep", *why, "cat"
    return ()


def _hold(done: threading.Event, after: float) -> None:
    if done.wait(after):
        return
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - Windows alone

        # It counts for this thread, for as long as the thread lives.
        ctypes.windll.kernel32.SetThreadExecutionState(_CONTINUOUS | _SYSTEM_REQUIRED)
        done.wait()
        ctypes.windll.kernel32.SetThreadExecutionState(_CONTINUOUS)
    elif (command := holder_of(sys.platform, os.getpid())) and shutil.which(command[0]):
        with suppress(OSError):
            process = subprocess.Popen(  # noqa: S603 - one of those above
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            done.wait()
            process.terminate()
            process.communicate()
