"""The bound on bytes per second, with a clock that only moves when somebody waits."""

import pytest

from qwen_fetch.transfer.ratelimit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("piece", [1000, 65_536, 1 << 20])
def test_the_rate_holds_over_ten_seconds(piece: int) -> None:
    clock = Clock()
    limit = RateLimit(2_000_000, clock, clock.wait)
    taken = 0
    while taken < 20_000_000:
        limit.take(piece)
        taken += piece
    assert taken / (clock.now - 100) == pytest.approx(2_000_000, rel=0.02)


def test_time_in_which_nothing_came_is_not_saved_up() -> None:
    clock = Clock()
    limit = RateLimit(1_000_000, clock, clock.wait)
    clock.now += 3600
    limit.take(1_000_000)
    assert clock.now == pytest.approx(3700.9, abs=0.01)


def test_without_a_limit_nobody_waits() -> None:
    clock = Clock()
    RateLimit(None, clock, clock.wait).take(10**12)
    assert clock.now == 100
