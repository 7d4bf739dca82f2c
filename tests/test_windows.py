"""The arithmetic of windows."""

from hypothesis import given
from hypothesis import strategies as st

from qwen_fetch.windows import FIRST_WINDOW, MAX_PIECE, MAX_WINDOW, MIN_WINDOW, Gaps, Pace, tapered


@given(
    size=st.integers(0, 1000),
    moves=st.lists(st.tuples(st.booleans(), st.integers(1, 300), st.floats(0, 1)), max_size=60),
)
def test_every_byte_is_assigned_once_however_much_is_given_back(
    size: int, moves: list[tuple[bool, int, float]]
) -> None:
    gaps = Gaps(0, size)
    assigned: list[tuple[int, int]] = []
    for give_back, most, share in moves:
        if give_back and assigned:
            start, end = assigned.pop(0)
            kept = start + int((end - start) * share)  # a worker keeps what it got and gives back the rest
            gaps.give_back(kept, end)
            if kept > start:
                assigned.append((start, kept))
        elif gaps.first is not None:
            first = gaps.first
            start, end = gaps.take(most)
            assert start == first
            assert 0 < end - start <= most
            assigned.append((start, end))
    taken = sum(end - start for start, end in assigned)
    assert taken + gaps.left == size
    while gaps.first is not None:
        assigned.append(gaps.take(10**9))
    assigned.sort()
    assert [start for start, _ in assigned] == [0, *(end for _, end in assigned[:-1])] or size == 0
    assert not assigned or assigned[-1][1] == size


def test_the_first_window_does_not_wait_for_a_measurement() -> None:
    assert Pace().window(streamed=True) == FIRST_WINDOW
    # Nothing of these is safe before all of it is here, and the line may be slow.
    assert Pace().window(streamed=False) == MIN_WINDOW
    assert Pace().piece() == MIN_WINDOW


@given(rate=st.floats(1, 1e10), latency=st.floats(0, 2), streamed=st.booleans())
def test_windows_stay_within_their_bounds(rate: float, latency: float, streamed: bool) -> None:
    pace = Pace(rate, latency)
    assert MIN_WINDOW <= pace.window(streamed=streamed) <= MAX_WINDOW
    assert MIN_WINDOW <= pace.piece() <= MAX_PIECE


def test_a_window_that_a_kill_would_lose_is_half_a_second_of_the_line() -> None:
    assert Pace(20e6).window(streamed=False) == 10_000_000


def test_a_slow_xet_line_spends_up_to_four_seconds_to_keep_the_edges_cheap() -> None:
    assert Pace(1e6, trusted=MAX_PIECE).piece() == 4_000_000
    assert Pace(4e6, trusted=MAX_PIECE).piece() == 8 << 20


def test_a_piece_may_be_twice_as_large_after_each_that_came_and_half_after_one_that_did_not() -> None:
    pace = Pace()
    sizes = []
    for came in (True, True, True, True, False, False, True):
        sizes.append(pace.piece() >> 20)
        pace.learn(10**8, 1, 0) if came else pace.shrink()
    assert sizes == [1, 2, 4, 8, 8, 4, 2]
    assert pace.piece() == 4 << 20


def test_the_next_piece_is_asked_for_ahead_unless_the_line_is_faster_than_any_answer() -> None:
    assert [Pace(rate).ahead for rate in (None, 1e6, 80e6, 90e6, 1e9)] == [1, 1, 1, 0, 0]


def test_latency_makes_windows_longer() -> None:
    near, far = Pace(20e6, 0.001), Pace(20e6, 0.08)
    assert near.window(streamed=False) == 10_000_000
    assert far.window(streamed=False) == 25_600_000


def test_the_rate_counts_from_the_first_byte() -> None:
    pace = Pace()
    pace.learn(10_000_000, seconds=1.5, latency=0.5)
    assert pace.rate == 10_000_000
    assert pace.latency == 0.5


def test_windows_are_shorter_towards_the_end() -> None:
    assert [tapered(64, left, 4) for left in (10_000, 512, 511, 256, 129, 1, 0)] == [64, 64, 63, 32, 16, 16, 16]
