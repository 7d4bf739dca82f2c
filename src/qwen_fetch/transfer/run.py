"""What the workers of one run share, and what any of them may do to it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from qwen_fetch.base import catalogue
from qwen_fetch.base.units import size_text
from qwen_fetch.diagnosis.translate import problem_of
from qwen_fetch.transfer.ratelimit import RateLimit
from qwen_fetch.transfer.retry import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qwen_fetch.base.events import Listener
    from qwen_fetch.base.problem import Problem
    from qwen_fetch.base.settings import Settings, Transport
    from qwen_fetch.cache.store import Store
    from qwen_fetch.transfer.schedule import Schedule
    from qwen_fetch.transport.source import Source

__all__ = ["Run", "Stopping"]


class Stopping(Exception):  # noqa: N818 - not an error: the run ends
    """The run is being stopped."""


class Run:
    """One run of the transfer, as those see it who do the work.

    Args:
        settings: Timeouts, patience, the limit on the rate.
        store: The repo's place in the cache.
        schedule: Which bytes are to be fetched.
        make_source: Opens a worker's connection, by transport; the preferred transport first.
        emit: Told what happens.

    Attributes:
        stopping: Set when everybody is to come to an end.
        health: Which transport deserves to be the first choice.
        limit: The bound on bytes per second of all together.
        problem: What has ended the run, if anything has.
        crowded: Told (monotonic seconds) that an attempt was turned away; returns whether there are more connections
            than at first, so that this may be the reason.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        schedule: Schedule,
        make_source: Mapping[Transport, Callable[[], Source]],
        emit: Listener,
    ) -> None:
        self.settings = settings
        self.store = store
        self.schedule = schedule
        self.make_source = make_source
        self.emit = emit
        self.stopping = threading.Event()
        self.health = Health(tuple(make_source))
        self.limit = RateLimit(settings.limit_rate, wait=self.stopping.wait)
        self.problem: Problem | None = None
        self.crowded: Callable[[float], bool] = lambda _now: False

    def abandon(self, problem: Problem) -> None:
        """Something that ends the whole run, whatever the other files do."""
        self.problem = self.problem or problem
        self.stop()

    def stop(self) -> None:
        """Have everybody come to an end."""
        self.schedule.stop()  # first: who stops must not be handed the next window
        self.stopping.set()

    def leave_if_stopping(self) -> None:
        """End what is under way in this thread if the run is being stopped.

        Raises:
            Stopping: It is.
        """
        if self.stopping.is_set():
            raise Stopping

    def local_problem(self, error: BaseException, path: str) -> Problem:
        """What an error of this machine means, with the numbers that help when the disk is full."""
        problem = problem_of(error, self.settings, path=path)
        if problem.kind is catalogue.DISK_FULL:
            left, free = self.schedule.bytes_left, self.store.free_bytes
            problem.facts["detail"] = f"{size_text(left)} are still to come, {size_text(free)} are free."
        return problem
