"""The arithmetic of windows: which bytes of a file are still unassigned, and how large the next piece should be."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

__all__ = ["EDGED_WINDOW", "FIRST_WINDOW", "MAX_WINDOW", "MIN_WINDOW", "Gaps", "Pace", "tapered"]

MIN_WINDOW = 1 << 20
MAX_WINDOW = 64 << 20
FIRST_WINDOW = 4 << 20  # before anything is known about the line
EDGED_WINDOW = 8 << 20  # where a chunk of 64 KiB comes twice at every edge: under 1 %

_TELLING = 256 << 10  # fewer bytes come with the head of the answer, and tell nothing of the rate
_DIRECT_SECONDS = 2.0
_HELD_SECONDS = 0.5
_HELD_EDGED_SECONDS = 4.0
_ROUND_TRIPS = 16


def tapered(size: int, left: int, workers: int, *, edges: bool = False) -> int:
    """A window of at most `size` bytes when `left` bytes of all files are missing: shorter towards the end.

    Otherwise one worker would be at a long window when the others have nothing left to do. Not shorter than a quarter,
    which still has four times the bytes of a round trip; with `edges` (see `Pace.window`) nor than `MIN_WINDOW`.
    """
    shortest = max(size // 4, min(size, MIN_WINDOW) if edges else 0)
    return max(shortest, min(size, left // (2 * workers)))


class Gaps:
    """The ranges of a file that no worker has been given yet, in order and apart from each other.

    Args:
        start: First unassigned byte.
        end: The file's size.
    """

    def __init__(self, start: int, end: int) -> None:
        self._ranges = [(start, end)] if start < end else []

    @property
    def first(self) -> int | None:
        """The first unassigned byte; None when there is none."""
        return self._ranges[0][0] if self._ranges else None

    @property
    def left(self) -> int:
        """Unassigned bytes."""
        return sum(end - start for start, end in self._ranges)

    def take(self, most: int) -> tuple[int, int]:
        """Assign the first `most` unassigned bytes, or up to the end of the first range.

        Raises:
            IndexError: Nothing is unassigned.
        """
        start, end = self._ranges.pop(0)
        cut = min(end, start + most)
        if cut < end:
            self._ranges.insert(0, (cut, end))
        return start, cut

    def give_back(self, start: int, end: int) -> None:
        """Make a range that `take` gave unassigned again."""
        if start >= end:
            return
        insort(self._ranges, (start, end))
        merged: list[tuple[int, int]] = []
        for low, high in self._ranges:
            if merged and merged[-1][1] == low:
                merged[-1] = (merged[-1][0], high)
            else:
                merged.append((low, high))
        self._ranges = merged


@dataclass(slots=True)
class Pace:
    """What one connection has shown so far, and the window that fits it.

    Attributes:
        rate: Bytes per second while bytes flowed; None before the first window.
        latency: Seconds from asking to the first byte.
    """

    rate: float | None = None
    latency: float = 0.0

    def learn(self, count: int, seconds: float, latency: float, *, opened: bool = False) -> None:
        """Take in one finished request: `count` bytes in `seconds`, of which `latency` passed before the first.

        With `opened`, the latency is that of a new connection: it tells nothing of a round trip.
        """
        if count < _TELLING or seconds <= 0:
            return
        rate = count / max(seconds - latency, 1e-4)
        # A slower one is believed at once: a fresh connection is fast until its first loss, and a window that is too
        # long holds up those that are ahead of it. A faster one by half.
        self.rate = rate if self.rate is None else min(rate, (self.rate + rate) / 2)
        if not opened:
            self.latency = (self.latency + latency) / 2 if self.latency else latency

    def window(self, *, direct: bool, edges: bool = False) -> int:
        """Bytes to ask for next, `MIN_WINDOW` to `MAX_WINDOW`.

        Args:
            direct: The bytes reach the disk as they arrive, so a cut costs nothing and a longer window
                only saves round trips: 2 s of line time. Otherwise a kill loses the window: 0.5 s.
                Either grows until the round trip is 1/16 of it.
            edges: A chunk comes twice at every edge of a window (Xet). `EDGED_WINDOW` makes that cheap, and a
                slow line spends up to 4 s to get there where a kill would lose it.
        """
        if self.rate is None:
            return FIRST_WINDOW if direct else MIN_WINDOW
        size = self.rate * max(_DIRECT_SECONDS if direct else _HELD_SECONDS, _ROUND_TRIPS * self.latency)
        if edges:
            cheap = EDGED_WINDOW if direct else min(self.rate * _HELD_EDGED_SECONDS, EDGED_WINDOW)
            size = max(size, cheap)
        return int(min(max(size, MIN_WINDOW), MAX_WINDOW))

    def shrink(self) -> None:
        """After a failed window: ask for half as much next time."""
        if self.rate is not None:
            self.rate /= 2
