"""How many connections: as many as make the whole go faster, and no more.

One connection is bounded by what TCP makes of distance and loss, a line by its rate; only trying tells which of them
it is. So the number is doubled for a moment: if the whole goes faster by more than chance and by more than what is
taken from others on the same line, it stays. Now and then half of it is tried in the same way. Pure: no clock.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qwen_fetch.base.settings import Settings

__all__ = ["FIRST", "MOST", "Connections", "bounds"]

FIRST = 4
"""Connections to begin with, and the fewest."""

MOST = 16
"""The most. At 400 Mbit/s, 100 ms and 0.05 % loss (cubic) 16 connections were measured at 141 Mbit/s, 32 at 328."""

_WORTH = 1.5  # times the rate that twice the connections must bring; what 4 others lose to them would make 1.33
_WORTH_WITH_ROOM = 1.25  # the same, where the line has carried `_LEAP` times as much lately: it has room
_PEAK_HALVES = 20.0  # seconds
_LEAP = 1.5  # times as much as now the line has carried lately: four times the connections are tried
_NO_LOSS = 1.3  # times the rate that half the connections may cost
_SETTLED = 0.5  # seconds in which new connections come up to speed, or
_SETTLED_TRIPS = 6  # so many round trips
_SLICE = 0.5  # seconds over which a rate is taken, or
_SLICE_TRIPS = 5  # so many round trips,
_ENOUGH = 1 << 18  # and until so many bytes came: the chunks of a slow line come one by one
_LONGEST_SLICE = 4.0  # seconds after which they are taken as they are
_SLICES = 3  # in a row that must be even,
_EVEN = 0.15  # differing by this share at most: a fresh connection is fast until its first loss
_LONGEST = 2.0  # seconds after which the last ones are taken as they are
_UNKNOWN = 0.1  # seconds for a round trip, before one is known
_LONGEST_TRIP = 0.15  # seconds; what takes longer is the server
_REST = 2.0  # seconds until the next trial, twice as long after each that changed nothing
_FULL_REST = 20.0  # seconds until it is tried whether fewer would do, after the most have paid
_LONGEST_REST = 300.0
_REFUSED_REST = 60.0  # seconds until more are tried where they were refused; twice as long each time
_WORK = 4.0  # seconds of work that must be left for a trial to pay


def bounds(settings: Settings) -> tuple[int, int]:
    """The connections to begin with, and the most."""
    if settings.max_workers is not None:
        return settings.max_workers, settings.max_workers
    return FIRST, FIRST if settings.limit_rate else MOST  # who wants less of the line does not want more connections


class Connections:
    """The number of connections, found by trying.

    Args:
        first: To begin with, and the fewest.
        most: Never more.

    Attributes:
        number: How many there should be now.
    """

    def __init__(self, first: int = FIRST, most: int = MOST) -> None:
        self.number = first
        self._first = first
        self._most = most
        self._before: tuple[int, float] | None = None  # while another number is tried: the one before, and its rate
        self._in_vain: tuple[int, float] | None = None  # what was just tried in vain, and its rate
        self._meter = _Meter()
        self._rest = 0.0
        self._try_at = float("-inf")
        self._down_next = False
        self._refused_rest = _REFUSED_REST
        self._more_at = float("-inf")  # when more may be tried again after they were refused

    def look(self, now: float, received: int, left: int, round_trip: float, *, steady: bool) -> int:
        """Look at how it goes; to be called some times a second.

        Args:
            now: Seconds, monotonic.
            received: Bytes that have come so far over all connections.
            left: Bytes that are still to come.
            round_trip: Seconds from a question to the first byte of its answer; 0: not known yet.
            steady: Whether all connections are at work: a line that is away says nothing of their number.

        Returns:
            How many connections there should be.
        """
        trip = min(round_trip or _UNKNOWN, _LONGEST_TRIP)
        if not steady or not received:
            self._meter.begin(now, trip)
        rate = self._meter.look(now, received, trip, falling=self._before is None)
        if rate is None:
            return self.number
        number = self.number
        if self._before is not None:
            self._judge(now, rate)
        elif self._in_vain is not None:
            self._regret(now, rate)
        if number == self.number and now >= self._try_at and left > rate * _WORK:
            self._try(now, rate)
        if number != self.number:
            self._meter.begin(now, trip)
        return self.number

    def refused(self, now: float) -> int:
        """The other end does not take so many: back to what it took, and no more for a while.

        Returns:
            How many connections there should be.
        """
        if self.number > self._first:
            before = self._before[0] if self._before else self.number
            self.number = max(min(before, self.number // 2), self._first)
            self._before = self._in_vain = None
            self._meter.begin(now, 0.0)
            self._more_at = now + self._refused_rest
            self._refused_rest *= 2
        return self.number

    def _try(self, now: float, rate: float) -> None:
        """Try another number, if there is one to try."""
        up = self.number * 2 <= self._most and now >= self._more_at
        down = self.number // 2 >= self._first
        if up or down:
            goes_down = down and (self._down_next or not up)
            self._down_next = not goes_down
            self._before = self.number, rate
            far = self._meter.peak >= _LEAP * rate and self.number * 4 <= self._most
            self.number = self.number // 2 if goes_down else self.number * (4 if far else 2)

    def _judge(self, now: float, rate: float) -> None:
        """Keep what was tried, and try to go on in the same direction; or go back."""
        assert self._before is not None  # noqa: S101 - called while something is tried
        (before, rate_before), self._before = self._before, None
        more = self.number > before
        if self._is_worth(before, rate_before, self.number, rate) if more else rate * _NO_LOSS >= rate_before:
            self._keep(now, down_next=not more)
            if now >= self._try_at:
                self._try(now, rate)
            return
        self._in_vain = (self.number, rate) if more else None
        self.number = before
        self._rest = min(max(2 * self._rest, _REST), _LONGEST_REST)
        self._try_at = now + self._rest

    def _regret(self, now: float, rate: float) -> None:
        """After going back from more connections: where all has become slower meanwhile, they were worth it."""
        assert self._in_vain is not None  # noqa: S101 - called after going back
        (more, rate_then), self._in_vain = self._in_vain, None
        if now >= self._more_at and self._is_worth(self.number, rate, more, rate_then):
            self.number = more
            self._keep(now, down_next=False)

    def _is_worth(self, number: int, rate: float, more: int, rate_then: float) -> bool:
        """Whether `more` connections, with their rate, are better than `number` with theirs."""
        worth = _WORTH_WITH_ROOM if self._meter.peak >= _LEAP * rate else _WORTH
        return rate_then >= rate * (worth if more <= 2 * number else worth**2)

    def _keep(self, now: float, *, down_next: bool) -> None:
        self._down_next = down_next
        further = self.number > self._first if down_next else self.number < self._most
        self._rest = 0.0 if further else _FULL_REST
        self._try_at = now + self._rest


class _Meter:
    """The rate of all connections together, once it is even.

    Attributes:
        peak: The most that the line has carried lately, in bytes per second.
    """

    def __init__(self) -> None:
        self.peak = 0.0
        self._began: float | None = None
        self._slice = 0.0, 0  # since when, and the bytes until then
        self._rates: list[float] = []  # of the last slices

    def begin(self, now: float, trip: float) -> None:
        """Measure anew, from when the connections have come up to speed."""
        self._began = now + max(_SETTLED, _SETTLED_TRIPS * trip)
        self._rates.clear()

    def look(self, now: float, received: int, trip: float, *, falling: bool) -> float | None:
        """Bytes per second; None: not known yet. With `falling`, it will do that it falls and falls."""
        if self._began is None:
            self.begin(now, trip)
            self._slice = now, received
        assert self._began is not None  # noqa: S101 - for the type checker
        seconds, count = now - self._slice[0], received - self._slice[1]
        if seconds < max(_SLICE, _SLICE_TRIPS * trip) or (count < _ENOUGH and seconds < _LONGEST_SLICE):
            return None
        began, self._slice = self._slice[0], (now, received)
        self.peak = max(self.peak * 0.5 ** (seconds / _PEAK_HALVES), count / seconds)
        if began < self._began:
            return None
        self._rates = [*self._rates[1 - _SLICES :], count / seconds]
        if falling and len(self._rates) == _SLICES and _falls(self._rates):
            return self._rates[-1]
        even = len(self._rates) == _SLICES and min(self._rates) >= (1 - _EVEN) * max(self._rates)
        late = now - self._began >= max(_LONGEST, 2 * seconds)
        return sum(self._rates[-2:]) / 2 if even or late else None


def _falls(rates: list[float]) -> bool:
    return all(later <= (1 - _EVEN) * earlier for earlier, later in pairwise(rates))
