"""One connection at a time, kept busy: fetch a window, try again, change the transport."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qwen_fetch.base.events import Attempt, Note, Retry, Switch
from qwen_fetch.diagnosis.translate import problem_of
from qwen_fetch.transfer.connections import FIRST
from qwen_fetch.transfer.retry import decide, pause
from qwen_fetch.transfer.run import Run, Stopping
from qwen_fetch.transfer.windows import MIN_WINDOW, Pace, tapered
from qwen_fetch.transport.look import LOOK_PERIOD, is_reachable
from qwen_fetch.transport.source import AWAY, Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_fetch.base.settings import Transport
    from qwen_fetch.transfer.job import Job, Window
    from qwen_fetch.transport.source import Source

__all__ = ["Worker"]

_TO_LEAVE = 1.5  # seconds
_TOO_MANY = {429, 503}  # what servers answer to one connection more than they like


class _Tally:
    """Tries in a row that brought no new byte to the disk, for one window."""

    def __init__(self, run: Run, job: Job) -> None:
        self.failures = 0
        self.gained_at = time.monotonic()
        self._run = run
        self._is_large = job.file.is_large
        self._on_disk, self._all_on_disk, self._received = job.on_disk, self._all, job.received
        self._all_at_failure = -1
        self.is_shared = False  # between the last two tries nobody got anything: it is no matter of this file

    def failed(self, window: Window, gained: bool) -> None:
        """Count one more, which `gained` bytes or not."""
        job = window.job
        self.failures += 1
        self.is_shared, self._all_at_failure = self._all == self._all_at_failure, self._all
        if job.on_disk > self._on_disk and gained:
            self.failures = 0
        elif job.received > self._received and (most := self._run.settings.max_retries) is not None:
            # Others got something: it must not be given up, but nor must this one ask without a pause.
            self.failures = min(self.failures, max(1, most - 1))
        if job.received > self._received:
            self.gained_at = time.monotonic()
        if job.on_disk > self._on_disk:
            self._on_disk, self._all_on_disk = job.on_disk, self._all
        self._received = job.received

    @property
    def others_go_on(self) -> bool:
        """Whether somebody has got something since the last failure."""
        return self._all > self._all_at_failure

    @property
    def nobody_gained(self) -> bool:
        """Whether no file from the same place has grown since this window last brought something."""
        return self._all == self._all_on_disk

    @property
    def _all(self) -> int:
        return self._run.schedule.bytes_grown(is_large=self._is_large)


class Worker:
    """One connection at a time, kept busy.

    Args:
        run: What it shares with the others.
        number: Its own, from 0: those from `Schedule.workers` on are not wanted. Small files take a round trip each and
            fill no line: 0 sees to them while the others move weights.
    """

    def __init__(self, run: Run, number: int) -> None:
        self._run = run
        self._number = number
        self._sources: dict[Transport, Source] = {}
        self._paces: dict[Transport, Pace] = {name: Pace() for name in run.make_source}
        self._source: Source | None = None  # the one an attempt is running on
        self.received = 0  # bytes, for the watch
        self.resting_until = 0.0  # monotonic seconds: when the next try after a failure begins
        self.reason = ""  # of the last failure
        self.is_waiting = False  # there is nothing for it to fetch before others have got further
        self.attempt = 0  # counts attempts; 0 bytes in a new one are not the silence of the old one

    @property
    def is_fetching(self) -> bool:
        """Whether it is waiting for its connection, and for nothing else."""
        return self._source is not None

    @property
    def is_surplus(self) -> bool:
        """Whether there are enough without it."""
        return self._number >= self._run.schedule.workers

    @property
    def _must_leave(self) -> bool:
        """Whether it is surplus and had the time to end its window: to break off takes with it what is on its way."""
        return self.is_surplus and time.monotonic() - self._run.schedule.fewer_at > _TO_LEAVE

    @property
    def round_trip(self) -> float:
        """Seconds from a question to the first byte of its answer; 0: not known yet."""
        return min((pace.latency for pace in self._paces.values() if pace.latency), default=0.0)

    def end_attempt(self) -> None:
        """End the attempt that is under way, from another thread."""
        source = self._source
        if source is not None:
            source.abort()

    def run(self) -> None:
        """Fetch windows until there are none."""
        run = self._run
        window: Window | None = None
        try:
            while (window := self._next()) is not None:
                self._fetch(window)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the user is told
            path = run.store.partial(window.job.file) if window else run.store.repo
            run.abandon(run.local_problem(error, str(path)))
        finally:
            for source in self._sources.values():
                source.close()

    def _next(self) -> Window | None:
        self.is_waiting = True
        try:
            return self._run.schedule.next(self._window_size, self._number, small_first=not self._number)
        finally:
            self.is_waiting = False

    def _window_size(self, direct: bool) -> int:
        run = self._run
        preferred = self._best(run.health.order(tuple(self._paces), time.monotonic()), direct=direct)
        edges = preferred == "xet"
        size = self._paces[preferred].window(direct=direct, edges=edges)
        if self._number >= FIRST:
            size = max(size // 2, MIN_WINDOW)  # it may soon be surplus, and ends its window first
        return tapered(size, run.schedule.bytes_left, run.schedule.workers, edges=edges)

    def _fetch(self, window: Window) -> None:
        """Bring one window to its end, however often that has to be tried."""
        run, job = self._run, window.job
        transport = self._best(self._transports(job), direct=window.direct)
        tally = _Tally(run, job)
        while True:
            position = window.position
            try:
                self._attempt(window, transport)
            except Stopping:
                run.schedule.give_back(window)
                return
            except Failure as failure:
                if run.stopping.is_set() or window.epoch != job.epoch:
                    run.schedule.give_back(window)
                    return
                if self.is_surplus or (window.position == position and self._is_one_too_many(failure)):
                    run.schedule.give_back(window)
                    return
                tally.failed(window, window.position > position)
                following = self._after(window, failure, transport, tally)
                if following is None:
                    run.schedule.give_back(window)
                    alone = failure.kind is FailureKind.MISSING  # that says nothing about the other files
                    if job.problem and not alone and tally.nobody_gained:
                        run.abandon(job.problem)  # nobody got anything meanwhile: it is not this file
                    return
                transport = following
            else:
                if window.direct and job.partial and not job.partial.intact:
                    run.emit(Note(f"{job.file.path}: another program changed its partial file; it starts again"))
                    run.schedule.lost(window)
                else:
                    run.schedule.finished(window)
                return

    def _is_one_too_many(self, failure: Failure) -> bool:
        """Whether it was turned away because there are more connections than the other end likes; a pause follows."""
        turned_away = failure.status in _TOO_MANY or failure.kind is FailureKind.CUT
        if not turned_away or not self._run.crowded(time.monotonic()):
            return False
        self._run.stopping.wait(pause(1))
        return True

    def _transports(self, job: Job) -> tuple[Transport, ...]:
        available: list[Transport] = ["xet", "http"] if job.file.xet_hash else ["http"]
        if job.file.xet_hash and self._run.settings.transport == "xet":
            available.remove("http")  # which is there for the files that Xet does not have
        order = self._run.health.order(available, time.monotonic())
        if job.mismatches % 2 and len(order) > 1:
            return order[::-1]  # wrong bytes came over the first one
        return order

    def _best(self, order: Sequence[Transport], *, direct: bool) -> Transport:
        """Over what to fetch: many windows that wait in memory have to be short, for which Xet has too many edges."""
        many = self._run.schedule.workers > FIRST
        return "http" if many and not direct and "http" in order else order[0]

    def _attempt(self, window: Window, transport: Transport) -> None:
        """One request for the rest of the window."""
        run, job = self._run, window.job
        opened = transport not in self._sources
        if opened:
            self._sources[transport] = run.make_source[transport]()
        source = self._sources[transport]
        began, before, first_byte, asked = time.perf_counter(), window.position, 0.0, window.end
        self.attempt += 1
        self._source = source
        outcome = "stopped"
        pieces = source.window(job.file, window.position, asked, afresh=job.mismatches > 0)
        try:
            for piece in pieces:
                if not first_byte:
                    first_byte = time.perf_counter() - began
                self._source = None  # what follows is not the line's fault
                if run.stopping.is_set() or window.epoch != job.epoch or (window.direct and self._must_leave):
                    raise Stopping
                window.accept(piece[: window.end - window.position])
                self.received += len(piece)
                run.limit.take(len(piece))
                if window.position == window.end < asked:
                    break  # it was cut short: others fetch the rest
                self._source = source
            outcome = f"done, {source.cache} by a cache" if source.cache else "done"
        except Failure as failure:
            outcome = str(failure)
            raise
        finally:
            self._source = None
            pieces.close()
            took = time.perf_counter() - began
            run.emit(Attempt(job.file.path, transport, before, window.position, round(took, 3), outcome))
        self._paces[transport].learn(window.position - before, time.perf_counter() - began, first_byte, opened=opened)

    def _after(self, window: Window, failure: Failure, used: Transport, tally: _Tally) -> Transport | None:
        """What follows a failed attempt: the transport of the next one, or None when the window is given up."""
        run, job = self._run, window.job
        run.health.failed(used, time.monotonic())
        self._paces[used].shrink()
        if failure.kind is FailureKind.NO_RANGES and used == "http" and not job.whole:
            run.schedule.in_one_piece(job)
            return None
        failures = tally.failures
        late = time.monotonic() - tally.gained_at >= run.settings.give_up_here
        decision = decide(failure, used, self._transports(job), failures, run.settings.max_retries, late=late)
        if decision.give_up:
            problem = problem_of(failure, run.settings, path=job.file.path, tries=failures)
            run.schedule.failed(job, problem)
            return None
        path, offset = job.file.path, window.position
        if decision.transport != used:
            run.emit(Switch(path, offset, decision.transport, failure.detail))
        else:
            run.emit(Retry(path, offset, failure.detail, decision.wait, failures))
        self.reason, self.resting_until = failure.detail, time.monotonic() + decision.wait
        looks = failure.kind in AWAY
        while (left := self.resting_until - time.monotonic()) > 0 and not run.stopping.wait(min(left, LOOK_PERIOD)):
            if looks and left > LOOK_PERIOD and is_reachable(failure.where):
                break  # the network is back: nobody waits out a pause that was made for a night
            if tally.is_shared and tally.others_go_on and failure.retry_after is None:
                break  # as it is when others get bytes from there again
        return decision.transport
