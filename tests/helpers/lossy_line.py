"""A line in numbers: TCP connections over a rate, a distance and a loss, in steps of a round trip."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_PACKET = 1448  # bytes
_FIRST_WINDOW = 10.0  # packets that a new connection has under way
_CUBIC, _KEPT = 0.4, 0.7  # cubic's own constants: how fast it grows, and what a loss leaves
_OPENING = 2.0  # round trips until the first byte of a new connection


@dataclass
class Tcp:
    """One connection: packets under way, and how they grow (cubic, with the slow start before the first loss)."""

    window: float = _FIRST_WINDOW
    at_loss: float = 0.0  # packets under way at the last loss; 0: none yet
    since: float = 0.0  # seconds since then
    opening: float = _OPENING

    def step(self, seconds: float, *, is_lost: bool) -> None:
        """One round trip later."""
        if self.opening > 0:
            self.opening -= 1
        elif is_lost:
            self.at_loss, self.since = self.window, 0.0
            self.window = max(self.window * _KEPT, 2.0)
        elif not self.at_loss:
            self.window *= 2
        else:
            self.since += seconds
            until = (self.at_loss * (1 - _KEPT) / _CUBIC) ** (1 / 3)
            cubic = _CUBIC * (self.since - until) ** 3 + self.at_loss
            reno = self.at_loss * _KEPT + 0.53 * self.since / seconds
            self.window = max(cubic, reno, 2.0)


@dataclass
class LossyLine:
    """The line, ours and the others' connections on it.

    Attributes:
        rate: Bytes per second.
        round_trip: Seconds.
        loss: The share of packets that is lost by chance.
        each: Bytes per second that the server gives a connection.
        others: Connections of others, that always have something to send.
        takes: Connections from us that the server takes; more are refused.
        seed: Of the chances.
    """

    rate: float
    round_trip: float
    loss: float = 0.0
    each: float = float("inf")
    others: int = 0
    takes: int = 1000
    seed: int = 1
    ours: list[Tcp] = field(default_factory=list)
    received: float = 0.0
    by_others: float = 0.0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._theirs: list[Tcp] = []

    def step(self, number: int, seconds: float) -> bool:
        """`seconds` of the line, with so many connections of ours; returns whether some of them were refused."""
        _resize(self.ours, min(number, self.takes))
        _resize(self._theirs, self.others)
        for _ in range(max(1, round(seconds / self.round_trip))):
            self._round(min(seconds, self.round_trip))
        return number > self.takes

    def _round(self, seconds: float) -> None:
        """A round trip, or the part of it that a short step is."""
        part = seconds / self.round_trip
        carries = self.rate * self.round_trip / _PACKET  # packets in a round trip
        most = self.each * self.round_trip / _PACKET
        wanted = [min(one.window, most) if one.opening <= 0 else 0.0 for one in (*self.ours, *self._theirs)]
        total = sum(wanted) or 1.0
        over = max(0.0, total - 2 * carries) / total  # beyond the line and its queue
        for number, (one, sent) in enumerate(zip((*self.ours, *self._theirs), wanted, strict=True)):
            got = sent * min(1.0, carries / total) * part * _PACKET
            if number < len(self.ours):
                self.received += got
            else:
                self.by_others += got
            lost = self._chance.random() < 1 - (1 - min(1.0, self.loss + over)) ** (sent * part)
            if one.opening > 0 or lost or sent == one.window:  # else the server gives no more: nothing to grow for
                one.step(self.round_trip, is_lost=lost)


def _resize(connections: list[Tcp], number: int) -> None:
    del connections[number:]
    connections += [Tcp() for _ in range(number - len(connections))]
