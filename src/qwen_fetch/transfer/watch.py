"""What does not move is noticed: a connection without bytes, a file that somebody else holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_fetch.transfer.connections import bounds
from qwen_fetch.transfer.job import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_fetch.base.settings import Settings
    from qwen_fetch.cache.store import Store
    from qwen_fetch.transfer.job import Job
    from qwen_fetch.transfer.schedule import Schedule
    from qwen_fetch.transfer.worker import Worker

__all__ = ["Watch"]

_DRIBBLE = 1024  # bytes per second under which a connection counts as silent
_NEEDED_SECONDS = 3.0  # of silence, when others have nothing to do before these very bytes are here


class Watch:
    """Looks, and ends what brings nothing.

    Args:
        workers: The connections.
        schedule: The files.
        store: Where they grow.
        settings: After how many seconds silence is a stall.
    """

    def __init__(self, workers: Sequence[Worker], schedule: Schedule, store: Store, settings: Settings) -> None:
        self._workers = workers
        self._schedule = schedule
        self._store = store
        self._patience = settings.stall_timeout
        share = (settings.limit_rate or _DRIBBLE * 1000) / bounds(settings)[0]
        self._floor = min(_DRIBBLE, share / 4) * self._patience
        self._marks: dict[Worker, tuple[int, int, float]] = {}
        self._heard: dict[Worker, tuple[int, int, float]] = {}
        self._hurried: dict[Worker, int] = {}
        self._last_look: float | None = None
        self.held_up: Job | None = None
        self.quiet_seconds = 0.0
        self._grown: tuple[int, float] = (-1, 0.0)

    def look(self, now: float) -> None:
        """Look once, at `now` (monotonic seconds)."""
        # When this very thread did not run, the machine slept: nobody was silent meanwhile.
        passed = now - self._last_look if self._last_look is not None else 0.0
        slept = max(0.0, now - self._last_look - 1.0) if self._last_look is not None else 0.0
        self._last_look = now
        needed = any(worker.is_waiting for worker in self._workers)
        for worker in self._workers:
            if self._is_late(worker, now, slept) and needed:
                self._hurried[worker] = worker.attempt
                worker.end_attempt()
            attempt, received, since = self._marks.get(worker, (-1, 0, now))
            since += slept
            moved = worker.received - received >= self._floor
            if attempt != worker.attempt or moved:
                attempt, received, since = worker.attempt, worker.received, now
            elif not worker.is_fetching:
                since += passed  # the disk or a limit on the rate took this time, not the line
            elif now - since > self._patience:
                worker.end_attempt()
                since = now
            self._marks[worker] = (attempt, received, since)
        self._look_at_locks(now, slept)

    def _is_late(self, worker: Worker, now: float, slept: float) -> bool:
        """Whether it has been silent for longer than is good when somebody waits for it.

        Without this, one silent connection at the end of the last file holds everybody for the whole patience, and a
        process that is killed more often than that never gets past it. Only every other attempt is cut short: a
        server that needs longer to answer is given the whole patience then.
        """
        attempt, received, since = self._heard.get(worker, (-1, 0, now))
        moved = (attempt, received) != (worker.attempt, worker.received)
        since = now if moved or not worker.is_fetching else since + slept
        self._heard[worker] = (worker.attempt, worker.received, since)
        return now - since > _NEEDED_SECONDS and worker.attempt - self._hurried.get(worker, -2) > 1

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
