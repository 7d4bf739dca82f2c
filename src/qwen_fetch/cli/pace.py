"""How fast it goes, and how long it will take: smooth enough to be read, and gone while nothing moves."""

from __future__ import annotations

from collections import deque

__all__ = ["Pace"]

_RATE_SECONDS = 10.0  # the rate is the mean of so long
_LEFT_SECONDS = 60.0  # the time left comes from a longer one: it is not to jump with every gust
_SAMPLE_SECONDS = 0.5
_LEAST_SECONDS = 1.0  # that a mean is taken over
_QUIET_SECONDS = 3.0  # without a byte: then nothing is said of either


class Pace:
    """The bytes of the last seconds; what was there before does not count."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._grown = 0.0

    def see(self, now: float, done: int) -> None:
        """`done` bytes are here at `now` (monotonic seconds)."""
        if not self._seen or done < self._seen[-1][1]:  # wrong bytes were thrown away
            self._seen.clear()
            self._grown = now
        elif done > self._seen[-1][1]:
            if now - self._grown > _QUIET_SECONDS:  # it goes on: the pause says nothing of the line
                self._seen.clear()
            self._grown = now
        if len(self._seen) > 1 and now - self._seen[-2][0] < _SAMPLE_SECONDS:
            self._seen.pop()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > _LEFT_SECONDS:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Bytes per second; 0 while nothing moves."""
        return self._mean(_RATE_SECONDS)

    @property
    def quiet(self) -> float:
        """Seconds since the last byte."""
        return self._seen[-1][0] - self._grown if self._seen else 0.0

    def left(self, count: int) -> float | None:
        """Seconds for another `count` bytes; None while nothing moves."""
        rate = self._mean(_LEFT_SECONDS)
        return count / rate if rate > 0 else None

    def _mean(self, seconds: float) -> float:
        if not self._seen or self.quiet > _QUIET_SECONDS:
            return 0.0
        now, done = self._seen[-1]
        since, had = next((one for one in self._seen if now - one[0] <= seconds), self._seen[-1])
        return (done - had) / (now - since) if now - since >= _LEAST_SECONDS else 0.0
