"""Move the bytes: a few workers with one connection each, watched over so that no wait is without a bound.

The thread that calls `Transfer.run` is the watchman: it looks at every worker a few times a second, ends
attempts that bring nothing, and reports. Workers only ever wait for their own connection.
"""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from qwen_fetch import catalogue
from qwen_fetch.diagnosis import problem_of
from qwen_fetch.errors import Problem
from qwen_fetch.events import Attempt, FileDone, FileProgress, Mismatch, Note, Progress, Retry, Switch, Waiting
from qwen_fetch.locks import holder
from qwen_fetch.ratelimit import RateLimit
from qwen_fetch.retry import Health, decide
from qwen_fetch.schedule import Job, Schedule, State
from qwen_fetch.sources import Failure, FailureKind
from qwen_fetch.units import size_text
from qwen_fetch.windows import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qwen_fetch.events import Listener
    from qwen_fetch.plan import Step
    from qwen_fetch.schedule import Window
    from qwen_fetch.settings import Settings, Transport
    from qwen_fetch.sources import Source
    from qwen_fetch.store import Store

__all__ = ["Transfer"]

_TICK = 0.1
_MISMATCHES = 3  # a file that is wrong so often in a row is not wrong by accident
_DRIBBLE = 1024  # bytes per second under which a connection counts as silent
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
        self._workers = [_Worker(self) for _ in range(settings.max_workers)]

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
        watch = _Watch(self._workers, self.schedule, self.store, self.settings)
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
            left = sum(job.file.size for job in self.schedule.jobs) - self.bytes_on_disk
            problem.facts["detail"] = (
                f"{size_text(left)} are still to come, {size_text(self.store.free_bytes)} are free."
            )
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
        """Hash what was not hashed as it arrived, and install what is right. One thread, beside the workers."""
        while (job := self._arrived.get()) is not None:
            try:
                self._check_file(job)
            except _Stopping:
                return  # no fault of the file
            except Exception as error:  # noqa: BLE001 - whatever it is, the user is told
                self.abandon(self.local_problem(error, str(self.store.partial(job.file))))

    def _check_file(self, job: Job) -> None:
        partial = job.partial
        if partial is None or job.state not in {State.ACTIVE, State.CHECKING}:
            return
        partial.catch_up(lambda _: self._leave_if_stopping())
        if job.state is not State.CHECKING:
            return
        if partial.is_right() and partial.intact:
            partial.flush()
            self.store.install(self.commit, job.file)
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

    def _leave_if_stopping(self) -> None:
        if self.stopping.is_set():
            raise _Stopping


class _Stopping(Exception):  # noqa: N818 - not an error: the run ends
    """The run is being stopped."""


class _Worker:
    """One connection at a time, kept busy."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._sources: dict[Transport, Source] = {}
        self._paces: dict[Transport, Pace] = {name: Pace() for name in transfer.make_source}
        self._source: Source | None = None  # the one an attempt is running on
        self.received = 0  # bytes, for the watch
        self.resting_until = 0.0  # monotonic seconds: when the next try after a failure begins
        self.reason = ""  # of the last failure
        self.attempt = 0  # counts attempts; 0 bytes in a new one are not the silence of the old one

    @property
    def is_fetching(self) -> bool:
        """Whether it is waiting for its connection, and for nothing else."""
        return self._source is not None

    def end_attempt(self) -> None:
        """End the attempt that is under way, from another thread."""
        source = self._source
        if source is not None:
            source.abort()

    def run(self) -> None:
        """Fetch windows until there are none."""
        transfer = self._transfer
        window: Window | None = None
        try:
            while (window := transfer.schedule.next(self._window_size)) is not None:
                self._fetch(window)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the user is told
            path = transfer.store.partial(window.job.file) if window else transfer.store.repo
            transfer.abandon(transfer.local_problem(error, str(path)))
        finally:
            for source in self._sources.values():
                source.close()

    def _window_size(self, direct: bool) -> int:
        now = time.monotonic()
        preferred = self._transfer.health.order(tuple(self._paces), now)[0]
        xet = preferred == "xet"
        return self._paces[preferred].window(streamed=direct and not xet, whole_chunks=xet)

    def _fetch(self, window: Window) -> None:
        """Bring one window to its end, however often that has to be tried."""
        transfer, job = self._transfer, window.job
        transport = self._transports(job)[0]
        failures = 0
        on_disk, all_on_disk = job.on_disk, transfer.bytes_on_disk
        while True:
            position = window.position
            try:
                self._attempt(window, transport)
            except _Stopping:
                transfer.schedule.give_back(window)
                return
            except Failure as failure:
                if transfer.stopping.is_set() or window.epoch != job.epoch:
                    transfer.schedule.give_back(window)
                    return
                failures += 1
                if job.on_disk > on_disk:
                    on_disk, all_on_disk = job.on_disk, transfer.bytes_on_disk
                    # Where only others of its workers got something, it must not be given up, but nor must
                    # this one ask again without a pause.
                    gained = window.position > position
                    failures = 0 if gained else min(failures, max(1, transfer.settings.max_retries - 1))
                following = self._after(window, failure, transport, failures)
                if following is None:
                    transfer.schedule.give_back(window)
                    alone = failure.kind is FailureKind.MISSING  # that says nothing about the other files
                    if job.problem and not alone and transfer.bytes_on_disk == all_on_disk:
                        transfer.abandon(job.problem)  # nobody got anything meanwhile: it is not this file
                    return
                transport = following
            else:
                if window.direct and job.partial and not job.partial.intact:
                    transfer.emit(Note(f"{job.file.path}: another program changed its partial file; it starts again"))
                    transfer.schedule.lost(window)
                else:
                    transfer.schedule.finished(window)
                return

    def _transports(self, job: Job) -> tuple[Transport, ...]:
        available: list[Transport] = ["xet", "http"] if job.file.xet_hash else ["http"]
        order = self._transfer.health.order(available, time.monotonic())
        if job.mismatches % 2 and len(order) > 1:
            return order[::-1]  # wrong bytes came over the first one
        return order

    def _attempt(self, window: Window, transport: Transport) -> None:
        """One request for the rest of the window."""
        transfer, job = self._transfer, window.job
        if transport not in self._sources:
            self._sources[transport] = transfer.make_source[transport]()
        source = self._sources[transport]
        began, before, first_byte = time.perf_counter(), window.position, 0.0
        self.attempt += 1
        self._source = source
        outcome = "stopped"
        pieces = source.window(job.file, window.position, window.end)
        try:
            for piece in pieces:
                if source.streams and not first_byte:
                    first_byte = time.perf_counter() - began
                self._source = None  # what follows is not the line's fault
                if transfer.stopping.is_set() or window.epoch != job.epoch:
                    raise _Stopping
                window.accept(piece)
                self.received += len(piece)
                transfer.limit.take(len(piece))
                self._source = source
            outcome = "done"
        except Failure as failure:
            outcome = str(failure)
            raise
        finally:
            self._source = None
            pieces.close()
            took = time.perf_counter() - began
            transfer.emit(Attempt(job.file.path, transport, before, window.position, round(took, 3), outcome))
        self._paces[transport].learn(window.position - before, time.perf_counter() - began, first_byte)

    def _after(self, window: Window, failure: Failure, used: Transport, failures: int) -> Transport | None:
        """What follows a failed attempt: the transport of the next one, or None when the window is given up."""
        transfer, job = self._transfer, window.job
        transfer.health.failed(used, time.monotonic())
        self._paces[used].shrink()
        if failure.kind is FailureKind.NO_RANGES and used == "http":
            job.whole = True
            return None  # handed out again in one piece
        decision = decide(failure, used, self._transports(job), failures, transfer.settings.max_retries)
        if decision.give_up:
            problem = problem_of(failure, transfer.settings, path=job.file.path, tries=failures)
            transfer.schedule.failed(job, problem)
            return None
        path, offset = job.file.path, window.position
        if decision.transport != used:
            transfer.emit(Switch(path, offset, decision.transport, failure.detail))
        else:
            transfer.emit(Retry(path, offset, failure.detail, decision.wait, failures))
        self.reason, self.resting_until = failure.detail, time.monotonic() + decision.wait
        transfer.stopping.wait(decision.wait)
        return decision.transport


class _Watch:
    """Notices what does not move: a connection without bytes, a file that somebody else holds.

    Args:
        workers: The connections.
        schedule: The files.
        store: Where they grow.
        settings: After how many seconds silence is a stall.
    """

    def __init__(self, workers: Sequence[_Worker], schedule: Schedule, store: Store, settings: Settings) -> None:
        self._workers = workers
        self._schedule = schedule
        self._store = store
        self._patience = settings.stall_timeout
        share = (settings.limit_rate or _DRIBBLE * 1000) / settings.max_workers
        self._floor = min(_DRIBBLE, share / 4) * self._patience
        self._marks: dict[_Worker, tuple[int, int, float]] = {}
        self._last_look: float | None = None
        self.held_up: Job | None = None
        self.quiet_seconds = 0.0
        self._grown: tuple[int, float] = (-1, 0.0)

    def look(self, now: float) -> None:
        """Look once, at `now` (monotonic seconds)."""
        # When this very thread did not run, the machine slept: nobody was silent meanwhile.
        slept = max(0.0, now - self._last_look - 1.0) if self._last_look is not None else 0.0
        self._last_look = now
        for worker in self._workers:
            attempt, received, since = self._marks.get(worker, (-1, 0, now))
            since += slept
            moved = worker.received - received >= self._floor
            if attempt != worker.attempt or moved or not worker.is_fetching:
                attempt, received, since = worker.attempt, worker.received, now
            elif now - since > self._patience:
                worker.end_attempt()
                since = now
            self._marks[worker] = (attempt, received, since)
        self._look_at_locks(now, slept)

    def _look_at_locks(self, now: float, slept: float) -> None:
        left = self._schedule.jobs_in(State.WAITING)
        moving = self._schedule.jobs_in(State.ACTIVE, State.CHECKING)
        if not left or moving or not all(job.busy for job in left):
            self.held_up, self._grown = None, (-1, now)
            return
        self.held_up = left[0]
        there, since = self._grown
        grown = sum(self._store.partial_size(job.file) or 0 for job in left)
        self._grown = (grown, now) if grown != there else (there, since + slept)
        self.quiet_seconds = now - self._grown[1]
