"""Calls that can be left: results, failures, bounds."""

import threading
from collections.abc import Iterator

import pytest

from qwen_fetch.base.waiting import Aside, call_with_ticks


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a call waits for; open in the end, so that no thread outlives its test."""
    gate = threading.Event()
    yield gate
    gate.set()


def nothing() -> None:
    pass


def test_a_result_is_handed_over() -> None:
    assert call_with_ticks(lambda: 7, nothing) == 7


def test_what_the_call_raises_is_raised_where_it_is_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        call_with_ticks(lambda: 1 // 0, nothing)


def test_a_call_that_takes_too_long_is_left(gate: threading.Event) -> None:
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        call_with_ticks(gate.wait, nothing, bound=0.01)


def test_a_tick_can_end_the_wait(gate: threading.Event) -> None:
    def stop() -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        call_with_ticks(gate.wait, stop)


def test_a_failure_can_be_looked_for_while_nobody_waits(gate: threading.Event) -> None:
    def fail() -> None:
        gate.wait(10)
        raise KeyError("late")

    aside = Aside(fail)
    aside.look()
    assert aside.is_running
    gate.set()
    with pytest.raises(KeyError):
        aside.wait(nothing)
    with pytest.raises(KeyError):
        aside.look()
