"""How fast it goes, and how long it will take."""

import pytest

from qwen_fetch.cli.pace import Pace


def run(pace: Pace, seconds: range, rate: float, done: float = 0.0) -> float:
    for tenth in range(seconds.start * 10, seconds.stop * 10):
        pace.see(tenth / 10, int(done))
        done += rate / 10
    return done


def test_the_rate_is_that_of_the_last_seconds_and_not_of_earlier_runs() -> None:
    pace = Pace()
    done = run(pace, range(1), 500, 10**9)  # what was here before is no rate
    assert pace.rate == 0
    done = run(pace, range(1, 30), 500, done)
    assert pace.rate == pytest.approx(500, rel=0.02)
    run(pace, range(30, 50), 2000, done)
    assert pace.rate == pytest.approx(2000, rel=0.02)


def test_the_time_left_does_not_jump_with_a_line_that_comes_in_gusts() -> None:
    pace, done, said = Pace(), 0, []
    for second in range(300):
        done += 20_000_000 if second % 4 == 0 else 1_000_000
        pace.see(float(second), done)
        if second > 60:
            left = pace.left(10**11 - done)
            assert left is not None
            said.append(left + second)  # when it will be done: always the same
    assert max(said) / min(said) < 1.03


def test_while_nothing_moves_nothing_is_said_and_the_pause_is_no_slow_line() -> None:
    pace = Pace()
    done = run(pace, range(60), 1000)
    assert pace.left(5000) == pytest.approx(5, rel=0.02)
    run(pace, range(60, 64), 0, done)
    assert pace.rate == 0
    assert pace.left(5000) is None
    assert pace.quiet > 3
    run(pace, range(600, 603), 1000, done + 100)
    assert pace.rate == pytest.approx(1000, rel=0.02)
    assert pace.left(5000) == pytest.approx(5, rel=0.02)


def test_thrown_away_bytes_are_no_negative_rate() -> None:
    pace = Pace()
    for second, done in enumerate((0, 1000, 200, 700)):
        pace.see(float(second), done)
        assert pace.rate >= 0
    assert pace.rate == 500
