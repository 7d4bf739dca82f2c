"""Which bytes which worker fetches next, so that nobody is idle while bytes are missing.

A worker first looks for a file that nobody works on: its bytes then go straight to the disk, in order. Large files
come first, but for one worker, which sees to the small ones. Only when there is no such file left do several workers
share one; a window ahead of the file's end waits in memory until all before it is on the disk, and such memory is
bounded.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from qwen_fetch.cache.locks import BlobLock
from qwen_fetch.cache.partial import Partial
from qwen_fetch.transfer.connections import FIRST
from qwen_fetch.transfer.job import Job, State, Window
from qwen_fetch.transfer.plan import Action
from qwen_fetch.transfer.windows import MIN_WINDOW, Gaps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_fetch.base.problem import Problem
    from qwen_fetch.cache.store import Store
    from qwen_fetch.transfer.plan import Step

__all__ = ["Schedule"]

MEMORY = 36 << 20  # bytes of all windows that wait in memory for their turn, being fetched or done
_MEMORY_WINDOW = 9 << 20  # so that several workers can run ahead in it
_LEAST_LEFT = 2 << 20  # bytes of a window that its worker keeps: more than it takes in at a time
_LOCK_PAUSE = 0.5  # seconds between two looks at a lock that somebody else holds

_UNFINISHED = (State.WAITING, State.ACTIVE, State.CHECKING)
_RESTING = (State.WAITING, State.DONE)
_BOTH = (True, False)


class Schedule:
    """Hands out windows; every method may be called from any thread.

    Args:
        store: The repo's place in the cache.
        commit: The pinned commit.
        steps: The files to fetch.
        workers: How many ask for windows, to begin with.
        on_checking: Called with a job all of whose bytes are on disk.
    """

    def __init__(
        self, store: Store, commit: str, steps: Sequence[Step], workers: int, on_checking: Callable[[Job], None]
    ) -> None:
        self.jobs = [Job(step, BlobLock(store, step.file)) for step in sorted(steps, key=_is_small)]
        self.bytes_total = sum(job.file.size for job in self.jobs)
        # Kept apart by state: with 2,000 files, looking at all of them for every window would add up.
        self._in: dict[State, dict[Job, None]] = {state: {} for state in State}
        self._in[State.WAITING] = dict.fromkeys(self.jobs)
        # Bytes of the files that wait or are done, by whether they are large.
        self._resting = {large: sum(job.on_disk for job in self.jobs if job.file.is_large is large) for large in _BOTH}
        self._store = store
        self._commit = commit
        self.workers = workers
        self.fewer_at = 0.0  # monotonic seconds: when they last became fewer
        self._on_checking = on_checking
        self._changed = threading.Condition()
        self._stopped = False

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of all files on disk."""
        return sum(self.bytes_grown(is_large=large) for large in _BOTH)

    def bytes_grown(self, *, is_large: bool) -> int:
        """Bytes on disk of the files that come from the store for large ones, or of the others."""
        with self._changed:
            moving = self.jobs_in(State.ACTIVE, State.CHECKING, State.FAILED)
            return self._resting[is_large] + sum(job.on_disk for job in moving if job.file.is_large is is_large)

    @property
    def bytes_left(self) -> int:
        """Bytes of all files that are not on disk yet."""
        return self.bytes_total - self.bytes_on_disk

    @property
    def is_over(self) -> bool:
        """Whether nobody will be handed a window any more."""
        with self._changed:
            return self._stopped or self._is_done

    @property
    def _is_done(self) -> bool:
        return not any(self._in[state] for state in _UNFINISHED)

    def resize(self, workers: int) -> None:
        """So many are to ask for windows from now on; the others get no more."""
        with self._changed:
            if workers < self.workers:
                self.fewer_at = time.monotonic()
            self.workers = workers
            self._changed.notify_all()

    def jobs_in(self, *states: State) -> list[Job]:
        """The files in these states."""
        with self._changed:
            return [job for state in states for job in self._in[state]]

    def next(self, size: Callable[[bool], int], number: int = 0, *, small_first: bool = False) -> Window | None:
        """The next window for a worker; waits while there is none yet.

        Args:
            size: How many bytes fit the worker's pace, for a window that goes to the disk as it comes
                (True) or that waits in memory (False).
            number: The worker's; from `workers` on they are not wanted any more.
            small_first: Whether a small file is preferred, even to going on with a large one.

        Returns:
            None when there is nothing more to do, or not for this worker.

        Raises:
            OSError: A partial or a lock cannot be opened.
        """
        while True:
            with self._changed:
                if self._stopped or number >= self.workers:
                    return None
                small = self._fresh_file(size, only_small=True) if small_first else None
                if window := small or self._active_file(size) or self._fresh_file(size) or self._run_ahead(size):
                    return window
                if self._is_done:
                    return None
                if self._cut() and (window := self._run_ahead(size)):
                    return window
                # Also looks at the locks of others again.
                self._changed.wait(_LOCK_PAUSE)

    def finished(self, window: Window) -> None:
        """All bytes of the window are here: they go to the disk if it is their turn.

        Raises:
            OSError: The disk is full or fails.
        """
        job = window.job
        with self._changed:
            if not window.direct and window.epoch == job.epoch:
                job.ready[window.start] = window
        self._leave(window)

    def give_back(self, window: Window) -> None:
        """The worker cannot finish the window: what is left of it can be handed out again."""
        job = window.job
        with self._changed:
            if window.epoch == job.epoch:
                job.gaps.give_back(window.position if window.direct else window.start, window.end)
        self._leave(window)

    def verified(self, job: Job) -> None:
        """The file has its final name."""
        assert job.partial is not None  # noqa: S101 - it was just checked
        job.partial.close()
        job.lock.release()
        with self._changed:
            self._move(job, State.DONE)
            self._changed.notify_all()

    def failed(self, job: Job, problem: Problem) -> None:
        """The file cannot be had now; the others go on."""
        with self._changed:
            job.problem = job.problem or problem
            self._move(job, State.FAILED)
            job.epoch += 1  # the windows of other workers are void
            job.ready.clear()
            self._settle(job)
            self._changed.notify_all()

    def again(self, job: Job) -> None:
        """The finished file was wrong and has been emptied: fetch it again."""
        assert job.partial is not None  # noqa: S101
        with self._changed:
            job.epoch += 1
            job.gaps = Gaps(0, job.file.size)
            self._move(job, State.ACTIVE)
            self._changed.notify_all()

    def lost(self, window: Window) -> None:
        """Somebody else has changed or removed the partial that this window was being written to: begin the file again.

        Raises:
            OSError: It cannot be opened again.
        """
        job = window.job
        assert job.partial is not None  # noqa: S101 - it was being written
        with self._changed:
            job.epoch += 1  # what other workers hold of it is void
            job.ready.clear()
            job.gaps = Gaps(0, job.file.size)
            job.partial.reopen()
        self._leave(window)

    def in_one_piece(self, job: Job) -> None:
        """The server sends no ranges: what is not on the disk yet is handed out again, all of it to one worker."""
        with self._changed:
            job.whole = True
            job.epoch += 1  # what other workers hold of it is void
            job.ready.clear()

    def stop(self) -> None:
        """No more windows for anybody."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of all files and locks; what was written stays."""
        for job in self.jobs:
            if job.partial is not None:
                job.partial.close()
            job.lock.release()

    def _move(self, job: Job, state: State) -> None:
        if job.state in _RESTING:
            self._resting[job.file.is_large] -= job.on_disk
        del self._in[job.state][job]
        job.state = state
        self._in[state][job] = None
        if state in _RESTING:
            self._resting[job.file.is_large] += job.on_disk

    def _active_file(self, size: Callable[[bool], int]) -> Window | None:
        for job in self._in[State.ACTIVE]:
            if job.whole and not job.flying and job.partial is not None:
                job.gaps = Gaps(job.partial.committed, job.file.size)
            if not job.flying and _is_free(job):
                return self._assign(job, size)
        return None

    def _fresh_file(self, size: Callable[[bool], int], *, only_small: bool = False) -> Window | None:
        now = time.monotonic()
        for job in tuple(self._in[State.WAITING]):
            if now >= job.look_again and (not only_small or _is_small(job.step)):
                job.busy = not job.lock.take()
                if job.busy:
                    job.look_again = now + _LOCK_PAUSE
                    continue
                if self._open(job):
                    return self._assign(job, size)
        return None

    def _open(self, job: Job) -> bool:
        """Begin a file whose lock was just taken; returns whether bytes are missing.

        Another process may have worked on it since the plan was made, so the disk is looked at again.
        """
        # With a reason, what is stored is known to be wrong; it stays until the right bytes replace it.
        if not job.step.reason and self._store.look(self._commit, job.file).blob == job.file.size:
            self._move(job, State.DONE)
            job.lock.release()
            self._changed.notify_all()
            return False
        job.partial = Partial(self._store.partial(job.file), job.file, keep=job.step.action is not Action.REFETCH)
        job.gaps = Gaps(job.partial.committed, job.file.size)
        missing = job.gaps.first is not None
        self._move(job, State.ACTIVE if missing else State.CHECKING)
        if job.partial.committed or not missing:
            self._on_checking(job)  # hashes the prefix while the rest is fetched
        return missing

    def _run_ahead(self, size: Callable[[bool], int]) -> Window | None:
        active = self._in[State.ACTIVE]
        shared = [job for job in active if not job.whole and job.gaps.first is not None]
        if not shared:
            return None
        held = sum(
            window.end - window.start
            for job in active
            for window in {*job.flying, *job.ready.values(), job.front}
            if window and not window.direct
        )
        # Spread over the files: the fewer run ahead of one front, the less has to wait for it.
        job = min(shared, key=lambda job: (len(job.flying) + len(job.ready), -job.gaps.left))
        most = min(_MEMORY_WINDOW, MEMORY // self.workers)
        return self._assign(job, size, most) if held + most <= MEMORY else None

    def _cut(self) -> bool:
        """With many connections, a slow one must not keep a long window to itself while others have nothing to do.

        Returns:
            Whether the second half of such a window is to be had.
        """
        active = [job for job in self._in[State.ACTIVE] if not job.whole]
        if self.workers <= FIRST or any(job.gaps.first is not None for job in active):
            return False
        flying = [one for job in active for one in job.flying if one.direct and one.epoch == job.epoch]
        longest = max(flying, key=lambda one: one.end - one.position, default=None)
        if longest is None or longest.end - longest.position < 2 * _LEAST_LEFT:
            return False
        end = (longest.position + longest.end) // 2
        longest.job.gaps.give_back(end, longest.end)
        longest.end = end
        return True

    def _assign(self, job: Job, size: Callable[[bool], int], room: int | None = None) -> Window:
        assert job.partial is not None  # noqa: S101
        direct = _is_free(job)
        # Where workers share a file, the one that writes must not be long: the others run ahead of it in memory.
        shared = len(self._in[State.WAITING]) + len(self._in[State.ACTIVE]) < self.workers
        most = job.file.size if job.whole else size(direct and not shared)
        start, end = job.gaps.take(most if room is None else min(most, room))
        window = Window(job, start, start, end, direct, job.epoch)
        if direct:
            job.front = window
        job.flying.append(window)
        return window

    def _leave(self, window: Window) -> None:
        """A worker is done with a window; whoever had the front also writes what waited for that."""
        job = window.job
        assert job.partial is not None  # noqa: S101 - the file was open when the window was handed out
        with self._changed:
            job.flying.remove(window)
        while (waiting := self._pass_on(job, window)) is not None:
            job.partial.append(waiting.pieces)
            window = waiting

    def _pass_on(self, job: Job, window: Window) -> Window | None:
        """Who has the front of the file after `window`: one that waits, whole (to be written), or one being fetched."""
        assert job.partial is not None  # noqa: S101 - as above
        with self._changed:
            if job.front is window:
                job.front = None
            if job.front is None:
                end = job.partial.committed
                job.front = job.ready.pop(end, None)
                if job.front is not None:
                    return job.front
                # Its worker writes what it has so far with the next bytes that come, and the rest as it comes.
                job.front = next((one for one in job.flying if one.start == end and one.epoch == job.epoch), None)
            self._settle(job)
            self._changed.notify_all()
            return None

    def _settle(self, job: Job) -> None:
        """After a window has left: is the file whole, or was it waiting to be let go?"""
        if job.flying or job.front or job.partial is None:
            return
        if job.state is State.FAILED:
            job.partial.close()
            job.lock.release()
        elif job.state is State.ACTIVE and job.partial.committed == job.file.size:
            self._move(job, State.CHECKING)
            self._on_checking(job)


def _is_small(step: Step) -> bool:
    """Whether the file is fetched in one window."""
    return step.file.size <= MIN_WINDOW


def _is_free(job: Job) -> bool:
    """Whether the next bytes of the file that nobody has been given would go straight to the disk."""
    return job.front is None and job.partial is not None and job.gaps.first == job.partial.committed
