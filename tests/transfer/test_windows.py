"""The arithmetic of windows."""

from hypothesis import given
from hypothesis import strategies as st

from qwen_fetch.transfer.windows import EDGED_WINDOW, FIRST_WINDOW, MAX_WINDOW, MIN_WINDOW, Gaps, Pace, tapered


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
    assert Pace().window(direct=True) == FIRST_WINDOW
    # Nothing of these is safe before all of it is here, and the line may be slow.
    assert Pace().window(direct=False) == MIN_WINDOW


@given(rate=st.floats(1, 1e10), latency=st.floats(0, 2), direct=st.booleans(), edges=st.booleans())
def test_windows_stay_within_their_bounds(rate: float, latency: float, direct: bool, edges: bool) -> None:
    pace = Pace(rate, latency)
    assert MIN_WINDOW <= pace.window(direct=direct) <= pace.window(direct=direct, edges=edges) <= MAX_WINDOW


def test_a_window_that_a_kill_would_lose_is_half_a_second_of_the_line() -> None:
    assert Pace(20e6).window(direct=False) == 10_000_000


def test_where_edges_cost_a_chunk_a_window_is_long_enough_for_them_to_be_cheap() -> None:
    # However slow the line: bytes that reach the disk as they come are lost by nobody.
    assert [Pace(rate).window(direct=True, edges=True) for rate in (1e3, 1e6, 20e6)] == [
        EDGED_WINDOW,
        EDGED_WINDOW,
        40_000_000,
    ]
    # What a kill would lose gets four seconds to become as long.
    assert [Pace(rate).window(direct=False, edges=True) for rate in (1e3, 1e6, 4e6, 20e6)] == [
        MIN_WINDOW,
        4_000_000,
        EDGED_WINDOW,
        10_000_000,
    ]


def test_after_a_failure_a_window_is_half_as_long() -> None:
    pace = Pace(20e6)
    pace.shrink()
    assert pace.window(direct=True) == 20_000_000
    unknown = Pace()
    unknown.shrink()
    assert unknown.window(direct=True) == FIRST_WINDOW


def test_latency_makes_windows_longer() -> None:
    near, far = Pace(20e6, 0.001), Pace(20e6, 0.08)
    assert near.window(direct=False) == 10_000_000
    assert far.window(direct=False) == 25_600_000


def test_the_rate_counts_from_the_first_byte() -> None:
    pace = Pace()
    pace.learn(10_000_000, seconds=1.5, latency=0.5)
    assert pace.rate == 10_000_000
    assert pace.latency == 0.5


def test_windows_are_shorter_towards_the_end() -> None:
    assert [tapered(64, left, 4) for left in (10_000, 512, 511, 256, 129, 1, 0)] == [64, 64, 63, 32, 16, 16, 16]


def test_where_edges_come_twice_the_last_windows_are_not_too_short() -> None:
    assert [tapered(size, 0, 4, edges=True) for size in (100, MIN_WINDOW, 8 << 20)] == [100, MIN_WINDOW, 2 << 20]
