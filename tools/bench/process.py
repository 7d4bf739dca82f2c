"""Run a command and know what it cost: wall time, CPU seconds of its tree, peak memory."""

# mypy: disable-error-code="attr-defined"
# Process groups and wait4 are there on POSIX alone, where the benchmark runs.

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Child", "Usage", "run"]

_SAMPLE = 0.03  # seconds; the kernel keeps the peak, only growth in the very last interval is missed


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process and the children it waited for have cost.

    Attributes:
        code: Exit code; negative: the signal that ended it.
        seconds: Wall time from start to end.
        cpu_seconds: User and system time.
        peak_bytes: Largest resident memory of any one process of the tree; 0 where the system does not tell.
        stopped: Whether it was killed because its time was over.
    """

    code: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    stopped: bool = False


class Child:
    """A started command, in a process group of its own so that all of it can be killed.

    Args:
        command: Program and arguments.
        environment: All of its environment variables.
        log: Where stdout and stderr go, appended.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._began = time.monotonic()
        self.pid = os.posix_spawnp(
            command[0],
            list(command),
            dict(environment),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setpgroup=0,
        )
        self._ended = threading.Event()
        self._peak = 0
        self._stopped = False

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to all of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, limit: float | None = None) -> Usage:
        """Wait for its end; after `limit` seconds it is killed."""
        # ru_maxrss would not do: a child inherits the peak of the process it was forked from.
        watch = threading.Thread(target=self._watch, args=(limit,), daemon=True)
        watch.start()
        try:
            _, status, used = os.wait4(self.pid, 0)
        except BaseException:
            self.kill()
            os.wait4(self.pid, 0)
            raise
        finally:
            seconds = time.monotonic() - self._began
            self._ended.set()
            watch.join()
        code = os.waitstatus_to_exitcode(status)
        return Usage(code, seconds, used.ru_utime + used.ru_stime, self._peak, self._stopped)

    def _watch(self, limit: float | None) -> None:
        while not self._ended.is_set():
            self._peak = max(self._peak, *(_peak(pid) for pid in _tree(self.pid)))
            if limit is not None and not self._stopped and time.monotonic() - self._began > limit:
                self._stopped = True
                self.kill()
            self._ended.wait(_SAMPLE)


def run(command: Sequence[str], environment: Mapping[str, str], log: Path, limit: float | None = None) -> Usage:
    """Run a command to its end, or for `limit` seconds."""
    return Child(command, environment, log).wait(limit)


def _tree(pid: int) -> list[int]:
    """A process and its children, of which a script in another language may be one."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                found += _tree(int(child))
    return found


def _peak(pid: int) -> int:
    """The most resident memory a process has had so far, in bytes; 0 where it cannot be known."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
