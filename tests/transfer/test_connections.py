"""How many connections, on lines of all kinds: as many as help, soon, and no more."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from lossy_line import LossyLine

from qwen_fetch.base.settings import Settings
from qwen_fetch.transfer.connections import FIRST, MOST, Connections, bounds

if TYPE_CHECKING:
    from collections.abc import Callable

_MBIT = 1e6 / 8
_LOOK = 0.1
FAR = LossyLine(rate=400 * _MBIT, round_trip=0.1)


def numbers(
    line: LossyLine, seconds: float, change: Callable[[float], None] = lambda _now: None, left: int = 1 << 50
) -> list[int]:
    """The number of connections at each look, ten times a second or once a round trip."""
    found, connections, now, step = [], Connections(), 0.0, max(_LOOK, line.round_trip)
    while now < seconds:
        change(now)
        found.append(connections.number)
        if line.step(connections.number, step):
            connections.refused(now)
        now += step
        connections.look(now, int(line.received), left, line.round_trip, steady=True)
    return found


def carried(line: LossyLine, number: int, seconds: float) -> float:
    """Bytes with a fixed number of connections."""
    for _ in range(round(seconds / _LOOK)):
        line.step(number, _LOOK)
    return line.received


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("loss", "times"), [(0.0005, 1.39), (0.0001, 1.16)])
def test_a_long_line_with_loss_gets_more(loss: float, times: float, seed: int) -> None:
    line = replace(FAR, loss=loss, seed=seed)
    assert max(numbers(line, 20)) >= 2 * FIRST
    assert line.received >= times * carried(replace(FAR, loss=loss, seed=seed), FIRST, 20)
    assert max(numbers(replace(FAR, loss=loss, seed=seed), 60)) == MOST


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(LossyLine(400 * _MBIT, 0.02), id="20 ms"),
        pytest.param(LossyLine(800 * _MBIT, 0.005), id="5 ms"),
        pytest.param(LossyLine(10_000 * _MBIT, 0.001), id="10 Gbit/s"),
        pytest.param(LossyLine(1 * _MBIT, 0.05, loss=0.001), id="1 Mbit/s"),
    ],
)
def test_a_line_that_four_fill_keeps_four(line: LossyLine) -> None:
    """It tries twice as many, for a few seconds, and less and less often."""
    step = max(_LOOK, line.round_trip)
    found = numbers(line, 600)
    assert max(found) <= 2 * FIRST
    assert sum(number > FIRST for number in found) * step <= 60
    assert sum(number > FIRST for number in found[len(found) // 2 :]) * step <= 15


@pytest.mark.parametrize("limit", [4, 5, 6])
def test_a_server_that_takes_no_more_is_not_pressed(limit: int) -> None:
    line = replace(FAR, loss=0.0005, takes=limit)
    found = numbers(line, 300)
    assert all(min(pair) <= limit for pair in pairwise(found)), "more than it takes, for longer than one look"
    assert sum(number > limit for number in found) <= 5


@pytest.mark.parametrize(("others", "most"), [(1, 0.85), (4, 0.6), (8, 0.58), (16, 0.55)])
def test_others_on_the_same_line_keep_their_share(others: int, most: float) -> None:
    """One beside us has the fifth that four connections leave it; where others have many, we have no more than they."""
    shares = []
    for seed in range(4):
        line = LossyLine(100 * _MBIT, 0.03, others=others, seed=seed)
        numbers(line, 120)
        shares.append(line.received / (line.received + line.by_others))
    assert sum(shares) / len(shares) <= most


def test_when_the_line_gets_better_in_the_night_the_number_falls() -> None:
    line = replace(FAR, loss=0.0005)

    def better(now: float) -> None:
        line.loss = 0.0005 if now < 120 else 0.0

    found = numbers(line, 420, better)
    assert max(found[800:1200]) == MOST
    assert found[-1] == FIRST


def test_it_settles() -> None:
    found = numbers(replace(FAR, loss=0.0005), 1800)
    late = found[len(found) // 2 :]
    assert sum(before != after for before, after in pairwise(late)) <= 12


def test_a_line_that_is_away_says_nothing() -> None:
    connections = Connections()
    for tenth in range(600):
        connections.look(tenth / 10, 10_000_000, 1 << 40, 0.1, steady=False)
    assert connections.number == FIRST


def test_the_last_seconds_are_no_time_for_trials() -> None:
    assert max(numbers(replace(FAR, loss=0.0005), 60, left=1_000_000)) == FIRST


def test_a_fixed_number_stays() -> None:
    connections = Connections(6, 6)
    for tenth in range(600):
        connections.look(tenth / 10, tenth * 1_000_000, 1 << 40, 0.1, steady=True)
    assert connections.number == connections.refused(60.0) == 6


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), (FIRST, MOST)),
        (Settings(max_workers=32), (32, 32)),
        (Settings(max_workers=1), (1, 1)),
        (Settings(limit_rate=1_000_000), (FIRST, FIRST)),
        (Settings(limit_rate=1_000_000, max_workers=8), (8, 8)),
    ],
)
def test_bounds(settings: Settings, expected: tuple[int, int]) -> None:
    assert bounds(settings) == expected
