"""Reading many files on all cores, with progress, and ended at once when asked to stop."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from qwen_fetch.base.events import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qwen_fetch.base.events import Listener

__all__ = ["on_all_cores"]

T = TypeVar("T")


def on_all_cores(
    phase: str,
    jobs: Mapping[str, Callable[[Callable[[int], None]], T]],
    total: int,
    emit: Listener,
    tick: Callable[[], None],
) -> dict[str, T]:
    """Do every job, as many at a time as there are cores; the results by the same keys.

    Args:
        phase: What to call it in the progress.
        jobs: Each is given a function to call with the bytes it has just read. Put the longest first, so that
            no core is left alone with one at the end.
        total: Bytes that all of them will read.
        emit: Told of the progress.
        tick: Called several times a second; what it raises ends the jobs and is raised again.

    Raises:
        Exception: What a job raised.
    """
    done = 0
    stop = False
    lock = Lock()

    def count(read: int) -> None:
        nonlocal done
        with lock:
            done += read
        if stop:
            raise _Stopped

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = {key: pool.submit(job, count) for key, job in jobs.items()}
        try:
            while wait(results.values(), timeout=0.1).not_done:
                emit(Progress(phase, done, total))
                tick()
        except BaseException:
            stop = True
            for result in results.values():
                result.cancel()
            raise
    emit(Progress(phase, done, total))
    return {key: result.result() for key, result in results.items()}


class _Stopped(BaseException):
    """The work is being stopped; no job may take it for an error of its own."""
