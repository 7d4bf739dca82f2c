"""The workers and their threads: as many at work as there are to be connections now."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from qwen_fetch.transfer.connections import Connections, bounds
from qwen_fetch.transfer.worker import Worker

if TYPE_CHECKING:
    from qwen_fetch.transfer.run import Run

__all__ = ["Crew"]

_AFTERMATH = 5.0  # seconds for which the other end may still be cross about connections that were too many


class Crew:
    """The workers of a run.

    Args:
        run: What they share. Its `crowded` leads here from now on.

    Attributes:
        workers: All that there may be, at work or not.
    """

    def __init__(self, run: Run) -> None:
        first, most = bounds(run.settings)
        self.workers = [Worker(run, number) for number in range(most)]
        self._first = first
        self._threads: dict[Worker, threading.Thread] = {}
        self._schedule = run.schedule
        self._connections = Connections(first, most)
        self._lock = threading.Lock()  # workers that are turned away come here in their own threads
        self._crowded_until = float("-inf")
        run.crowded = self._crowded

    @property
    def threads(self) -> list[threading.Thread]:
        """Those that are alive."""
        return [thread for thread in self._threads.values() if thread.is_alive()]

    @property
    def received(self) -> int:
        """Bytes that came over the line."""
        return sum(worker.received for worker in self.workers)

    def look(self, now: float) -> None:
        """See to it that as many are at work as help; to be called some times a second (`now`: monotonic seconds)."""
        wanted = self.workers[: self._schedule.workers]
        steady = not any(worker.resting_until > now for worker in wanted)
        round_trip = min((worker.round_trip for worker in wanted if worker.round_trip), default=0.0)
        with self._lock:
            number = self._connections.look(now, self.received, self._schedule.bytes_left, round_trip, steady=steady)
            self._resize(number, now)
        for worker in self.workers[:number]:
            if worker not in self._threads or not self._threads[worker].is_alive():
                if self._schedule.is_over:
                    return
                self._threads[worker] = threading.Thread(target=worker.run, daemon=True)
                self._threads[worker].start()

    def _crowded(self, now: float) -> bool:
        with self._lock:
            if self._schedule.workers > self._first:
                self._resize(self._connections.refused(now), now)
            return now < self._crowded_until

    def _resize(self, number: int, now: float) -> None:
        if max(number, self._schedule.workers) > self._first:
            self._crowded_until = now + _AFTERMATH
        if number != self._schedule.workers:
            self._schedule.resize(number)
