"""One thread beside the workers: it hashes what was not hashed as it arrived, and installs what is right."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.events import FileDone, Mismatch, Note
from qwen_fetch.base.problem import Problem
from qwen_fetch.transfer.job import Job, State
from qwen_fetch.transfer.run import Run, Stopping

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_fetch.cache.partial import Partial

__all__ = ["Checker"]

_MISMATCHES = 3  # a file that is wrong so often in a row is not wrong by accident
_FLUSH_PERIOD = 0.1  # seconds between two looks at what has grown
_FLUSH_BYTES = 64 << 20  # by so much: then little is left to flush when a file is whole
_FLUSH_SECONDS = 5.0  # however little: what a power cut may cost on a slow line


class Checker:
    """Checks what has arrived.

    Args:
        run: What it shares with the workers.
        commit: Whose snapshot the files are of.
        arrived: Files to look at; None: there will be no more.
    """

    def __init__(self, run: Run, commit: str, arrived: SimpleQueue[Job | None]) -> None:
        self._run = run
        self._commit = commit
        self._arrived = arrived

    def run(self) -> None:
        """Check files until there will be no more of them.

        When there is nothing to check it flushes what has grown: otherwise the last files would be waited for at the
        end of the run, some gigabytes of them where memory is plentiful, and a power cut would take as much.
        """
        flushed = time.monotonic()  # all of it
        while True:
            try:
                job = self._arrived.get(timeout=_FLUSH_PERIOD)
            except Empty:
                now = time.monotonic()
                flush = self._flush_grown
                if now - flushed >= _FLUSH_SECONDS:
                    flush, flushed = self._flush, now
                for active in self._run.schedule.jobs_in(State.ACTIVE):
                    self._check_one(active, flush)
                continue
            if job is None:
                return
            self._check_one(job, self._check)

    def _check_one(self, job: Job, check: Callable[[Job], None]) -> None:
        try:
            check(job)
        except Stopping:
            pass  # no fault of the file
        except Exception as error:  # noqa: BLE001 - whatever it is, the user is told
            self._run.abandon(self._run.local_problem(error, str(self._run.store.partial(job.file))))

    def _flush_grown(self, job: Job) -> None:
        if job.partial is not None and job.partial.unflushed >= _FLUSH_BYTES:
            self._flush(job)

    def _flush(self, job: Job) -> None:
        if job.partial is not None and job.partial.unflushed:
            job.partial.flush()  # an error is told to the first who asks, and to nobody later

    def _check(self, job: Job) -> None:
        partial = job.partial
        if partial is None or job.state not in {State.ACTIVE, State.CHECKING}:
            return
        partial.catch_up(lambda _: self._run.leave_if_stopping())
        if job.state is not State.CHECKING:
            return
        if partial.is_right() and self._install(job, partial):
            self._run.schedule.verified(job)
            self._run.emit(FileDone(job.file.path, job.file.size))
            if job.mismatches:
                told = "right at last, after every cache on the way was told to ask for it again"
                self._run.emit(Note(f"{job.file.path}: {told}"))
            return
        job.mismatches += 1
        self._run.emit(Mismatch(job.file.path, job.file.size))
        partial.reopen()
        if job.mismatches >= _MISMATCHES:
            self._run.schedule.failed(job, Problem(catalogue.CORRUPT, path=job.file.path, tries=job.mismatches))
        else:
            self._run.schedule.again(job)

    def _install(self, job: Job, partial: Partial) -> bool:
        """Give a verified file its final name; False if somebody else has changed or removed it meanwhile."""
        partial.flush()
        if not partial.intact:
            return False
        partial.close()  # Windows renames nothing that is open
        try:
            self._run.store.install(self._commit, job.file)
        except FileNotFoundError:  # in this very moment
            return False
        return True
