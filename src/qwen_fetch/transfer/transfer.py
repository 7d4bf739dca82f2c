"""Move the bytes: a few workers with one connection each, watched over so that no wait is without a bound.

The thread that calls `Transfer.run` is the watchman: it looks at every worker a few times a second, ends
attempts that bring nothing, and reports. One more thread checks and installs what is whole.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.events import FileDone, FileProgress, Mismatch, Progress, Waiting
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.units import size_text
from qwen_fetch.cache.locks import holder
from qwen_fetch.diagnosis.translate import problem_of
from qwen_fetch.transfer.job import Job, State
from qwen_fetch.transfer.ratelimit import RateLimit
from qwen_fetch.transfer.retry import Health
from qwen_fetch.transfer.schedule import Schedule
from qwen_fetch.transfer.watch import Watch
from qwen_fetch.transfer.worker import Stopping, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qwen_fetch.base.events import Listener
    from qwen_fetch.base.settings import Settings, Transport
    from qwen_fetch.cache.partial import Partial
    from qwen_fetch.cache.store import Store
    from qwen_fetch.transfer.plan import Step
    from qwen_fetch.transport.source import Source

__all__ = ["Transfer"]

_TICK = 0.1
_MISMATCHES = 3  # a file that is wrong so often in a row is not wrong by accident
_FLUSH_PERIOD = 0.1  # seconds between two looks at what has grown
_FLUSH_BYTES = 64 << 20  # by so much: then little is left to flush when a file is whole
_FLUSH_SECONDS = 5.0  # however little: what a power cut may cost on a slow line
_GRACE = 1.0  # seconds that workers get to end when the run is stopped


class Transfer:
    """Fetch, check and install a set of files.

    Args:
        settings: Connections, timeouts, patience.
        store: The repo's place in the cache.
        commit: The pinned commit.
        steps: The files to fetch; each digest at most once.
        make_source: Opens a worker's connection, by transport. The keys are the transports of this run,
            the preferred one first.
        emit: Told what happens.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        commit: str,
        steps: Sequence[Step],
        make_source: Mapping[Transport, Callable[[], Source]],
        emit: Listener,
    ) -> None:
        self.settings = settings
        self.store = store
        self.commit = commit
        self.emit = emit
        self.make_source = make_source
        self.stopping = threading.Event()
        self.health = Health(tuple(make_source))
        self.limit = RateLimit(settings.limit_rate, wait=self.stopping.wait)
        self.problem: Problem | None = None
        self._arrived: SimpleQueue[Job | None] = SimpleQueue()
        self.schedule = Schedule(store, commit, steps, settings.max_workers, self._arrived.put)
        self._workers = [Worker(self) for _ in range(settings.max_workers)]

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Fetch everything.

        Args:
            tick: Called several times a second; what it raises stops the run.

        Raises:
            Problem: Not everything could be had. What was received is kept.
        """
        checker = threading.Thread(target=self._check_files, name="checker", daemon=True)
        threads = [checker, *(threading.Thread(target=worker.run, daemon=True) for worker in self._workers)]
        for thread in threads:
            thread.start()
        watch = Watch(self._workers, self.schedule, self.store, self.settings)
        try:
            while busy := [thread for thread in threads[1:] if thread.is_alive()]:
                busy[0].join(_TICK)
                watch.look(time.monotonic())
                self._report()
                tick()
                if held_up := watch.held_up:
                    self._held_up(held_up, watch.quiet_seconds)
        finally:
            self._stop(threads)
        self._report()
        problems = [job.problem for job in self.schedule.jobs if job.problem]
        if self.problem or problems:
            raise self.problem or problems[0]

    @property
    def bytes_received(self) -> int:
        """Bytes that came over the line in this run."""
        return sum(worker.received for worker in self._workers)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of all files on disk."""
        return self.schedule.bytes_on_disk

    def abandon(self, problem: Problem) -> None:
        """Something that ends the whole run, whatever the other files do."""
        self.problem = self.problem or problem
        self.schedule.stop()  # first: who stops must not be handed the next window
        self.stopping.set()

    def local_problem(self, error: BaseException, path: str) -> Problem:
        """What an error of this machine means, with the numbers that help when the disk is full."""
        problem = problem_of(error, self.settings, path=path)
        if problem.kind is catalogue.DISK_FULL:
            left, free = self.schedule.bytes_left, self.store.free_bytes
            problem.facts["detail"] = f"{size_text(left)} are still to come, {size_text(free)} are free."
        return problem

    def _stop(self, threads: list[threading.Thread]) -> None:
        self.schedule.stop()
        self.stopping.set()
        self._arrived.put(None)
        deadline = time.monotonic() + _GRACE
        while (alive := [thread for thread in threads if thread.is_alive()]) and time.monotonic() < deadline:
            # Again and again: one may just have been about to begin an attempt.
            for worker in self._workers:
                worker.end_attempt()
            alive[0].join(_TICK / 2)
        if not any(thread.is_alive() for thread in threads):
            self.schedule.close()

    def _held_up(self, job: Job, seconds: float) -> None:
        who = holder(self.store, job.file)
        self.emit(Waiting(f"{job.file.path} is being downloaded by {who}"))
        if seconds > self.settings.stall_timeout:
            raise Problem(catalogue.BUSY, path=job.file.path, holder=who, seconds=seconds)

    def _report(self) -> None:
        active = self.schedule.jobs_in(State.ACTIVE)
        checking = self.schedule.jobs_in(State.CHECKING)
        flying = tuple(FileProgress(job.file.path, job.on_disk, job.file.size) for job in active)
        self.emit(
            Progress(
                "verify" if checking and not flying else "download",
                self.bytes_on_disk,
                self.schedule.bytes_total,
                flying or tuple(FileProgress(job.file.path, job.hashed, job.file.size) for job in checking),
                self._waiting(time.monotonic()),
            )
        )

    def _waiting(self, now: float) -> str:
        """What everybody is waiting for, if nobody is fetching."""
        resting = [worker for worker in self._workers if worker.resting_until > now]
        if not resting or any(worker.is_fetching for worker in self._workers):
            return ""
        first = min(resting, key=lambda worker: worker.resting_until)
        return f"waiting for the network, next try in {first.resting_until - now:.0f} s ({first.reason})"

    def _check_files(self) -> None:
        """Hash what was not hashed as it arrived, and install what is right. One thread, beside the workers.

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
                for active in self.schedule.jobs_in(State.ACTIVE):
                    self._check_one(active, flush)
                continue
            if job is None:
                return
            self._check_one(job, self._check_file)

    def _check_one(self, job: Job, check: Callable[[Job], None]) -> None:
        try:
            check(job)
        except Stopping:
            pass  # no fault of the file
        except Exception as error:  # noqa: BLE001 - whatever it is, the user is told
            self.abandon(self.local_problem(error, str(self.store.partial(job.file))))

    def _flush_grown(self, job: Job) -> None:
        if job.partial is not None and job.partial.unflushed >= _FLUSH_BYTES:
            self._flush(job)

    def _flush(self, job: Job) -> None:
        if job.partial is not None and job.partial.unflushed:
            job.partial.flush()  # an error is told to the first who asks, and to nobody later

    def _check_file(self, job: Job) -> None:
        partial = job.partial
        if partial is None or job.state not in {State.ACTIVE, State.CHECKING}:
            return
        partial.catch_up(lambda _: self._leave_if_stopping())
        if job.state is not State.CHECKING:
            return
        if partial.is_right() and self._install(job, partial):
            self.schedule.verified(job)
            self.emit(FileDone(job.file.path, job.file.size))
            return
        job.mismatches += 1
        self.emit(Mismatch(job.file.path, job.file.size))
        partial.reopen()
        if job.mismatches >= _MISMATCHES:
            self.schedule.failed(job, Problem(catalogue.CORRUPT, path=job.file.path, tries=job.mismatches))
        else:
            self.schedule.again(job)

    def _install(self, job: Job, partial: Partial) -> bool:
        """Give a verified file its final name; False if somebody else has changed or removed it meanwhile."""
        partial.flush()
        if not partial.intact:
            return False
        try:
            self.store.install(self.commit, job.file)
        except FileNotFoundError:  # in this very moment
            return False
        return True

    def _leave_if_stopping(self) -> None:
        if self.stopping.is_set():
            raise Stopping
