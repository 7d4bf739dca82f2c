"""A bound on bytes per second for all connections together."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RateLimit"]

_BURST_SECONDS = 0.1


class RateLimit:
    """A token bucket: whoever has received bytes waits until the line is allowed to carry more.

    Args:
        rate: Bytes per second; None: no limit.
        clock: Seconds, monotonic.
        wait: Sleeps so many seconds; true when the program is stopping.
    """

    def __init__(
        self,
        rate: int | None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._free_at = clock()  # when everything received so far has been paid for

    def take(self, count: int) -> None:
        """Account for `count` received bytes, and wait until they are paid for."""
        if self._rate is None:
            return
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now - _BURST_SECONDS) + count / self._rate
            until = self._free_at
        while (delay := until - self._clock()) > 0:
            if self._wait(min(delay, 0.5)):
                return
