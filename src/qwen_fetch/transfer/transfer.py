"""Move the bytes: a few workers with one connection each, watched over so that no wait is without a bound.

The thread that calls `Transfer.run` is the watchman: it looks at every worker a few times a second, ends
attempts that bring nothing, and reports. One more thread checks and installs what is whole.
"""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.events import FileProgress, Progress, Waiting
from qwen_fetch.base.problem import Problem
from qwen_fetch.cache.locks import holder
from qwen_fetch.transfer.checker import Checker
from qwen_fetch.transfer.connections import bounds
from qwen_fetch.transfer.crew import Crew
from qwen_fetch.transfer.job import Job, State
from qwen_fetch.transfer.run import Run
from qwen_fetch.transfer.schedule import Schedule
from qwen_fetch.transfer.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qwen_fetch.base.events import Listener
    from qwen_fetch.base.settings import Settings, Transport
    from qwen_fetch.cache.store import Store
    from qwen_fetch.transfer.plan import Step
    from qwen_fetch.transport.source import Source

__all__ = ["Transfer"]

_TICK = 0.1
_GRACE = 0.7  # seconds that workers get to end when the run is stopped, which is over within one


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
        self._settings = settings
        self._store = store
        self._emit = emit
        self._arrived: SimpleQueue[Job | None] = SimpleQueue()
        self.schedule = Schedule(store, commit, steps, bounds(settings)[0], self._arrived.put)
        self._run = Run(settings, store, self.schedule, make_source, emit)
        self._checker = Checker(self._run, commit, self._arrived)
        self._crew = Crew(self._run)

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Fetch everything.

        Args:
            tick: Called several times a second; what it raises stops the run.

        Raises:
            Problem: Not everything could be had. What was received is kept.
        """
        checker = threading.Thread(target=self._checker.run, name="checker", daemon=True)
        checker.start()
        watch = Watch(self._crew.workers, self.schedule, self._store, self._settings)
        try:
            self._crew.look(time.monotonic())
            while busy := self._crew.threads:
                busy[0].join(_TICK)
                watch.look(time.monotonic())
                self._crew.look(time.monotonic())
                self._report()
                tick()
                if held_up := watch.held_up:
                    self._held_up(held_up, watch.quiet_seconds)
        finally:
            self._stop(checker)
        self._report()
        problems = [job.problem for job in self.schedule.jobs if job.problem]
        if problem := self._run.problem or next(iter(problems), None):
            raise problem

    @property
    def bytes_received(self) -> int:
        """Bytes that came over the line in this run."""
        return self._crew.received

    def _stop(self, checker: threading.Thread) -> None:
        self._run.stop()
        self._arrived.put(None)
        threads = [checker, *self._crew.threads]
        deadline = time.monotonic() + _GRACE
        while (alive := [thread for thread in threads if thread.is_alive()]) and time.monotonic() < deadline:
            # Again and again: one may just have been about to begin an attempt.
            for worker in self._crew.workers:
                worker.end_attempt()
            alive[0].join(_TICK / 2)
        if not any(thread.is_alive() for thread in threads):
            self.schedule.close()

    def _held_up(self, job: Job, seconds: float) -> None:
        who = holder(self._store, job.file)
        self._emit(Waiting(f"{job.file.path} is being downloaded by {who}"))
        if seconds > self._settings.stall_timeout:
            raise Problem(catalogue.BUSY, path=job.file.path, holder=who, seconds=seconds)

    def _report(self) -> None:
        active = self.schedule.jobs_in(State.ACTIVE)
        checking = self.schedule.jobs_in(State.CHECKING)
        flying = tuple(FileProgress(job.file.path, job.on_disk, job.file.size) for job in active)
        self._emit(
            Progress(
                "verify" if checking and not flying else "download",
                self.schedule.bytes_on_disk,
                self.schedule.bytes_total,
                flying or tuple(FileProgress(job.file.path, job.hashed, job.file.size) for job in checking),
                *self._waiting(time.monotonic()),
            )
        )

    def _waiting(self, now: float) -> tuple[str, str, float | None]:
        """What everybody is waiting for, if nobody is fetching; why, and for how many seconds."""
        resting = [worker for worker in self._crew.workers if worker.resting_until > now]
        if not resting or any(worker.is_fetching for worker in self._crew.workers):
            return "", "", None
        first = min(resting, key=lambda worker: worker.resting_until)
        left = first.resting_until - now
        return f"waiting for the network, next try in {left:.0f} s ({first.reason})", first.reason, left
