"""Silence is measured on the line alone, with a clock that is told what time it is."""

from __future__ import annotations

from typing import Any, cast

import pytest

from qwen_fetch.base.settings import Settings
from qwen_fetch.transfer.watch import Watch


class Connection:
    """Stands for a worker."""

    def __init__(self) -> None:
        self.attempt = 1
        self.received = 0
        self.is_fetching = True
        self.is_waiting = False
        self.ended = 0

    def end_attempt(self) -> None:
        self.ended += 1


class NoFiles:
    """Stands for a schedule in which nothing waits for anybody."""

    def jobs_in(self, *_states: object) -> list[object]:
        return []


def watch(*connections: Connection, patience: float = 3.0) -> Watch:
    workers = [cast("Any", connection) for connection in connections]
    return Watch(workers, cast("Any", NoFiles()), cast("Any", None), Settings(stall_timeout=patience))


def waiting() -> Connection:
    """A worker that has nothing to do before others have got further."""
    worker = Connection()
    worker.is_fetching, worker.is_waiting = False, True
    return worker


def looks(watched: Watch, connection: Connection, seconds: float, busy_every: int = 0, rate: float = 0) -> float:
    """Look ten times a second; returns when the attempt was ended, or `seconds`."""
    for count in range(int(seconds * 10)):
        connection.is_fetching = not (busy_every and count % busy_every == 0)
        connection.received += int(rate / 10)
        watched.look(100 + count / 10)
        if connection.ended:
            return count / 10
    return seconds


def test_silence_is_ended_after_the_patience() -> None:
    connection = Connection()
    assert 3.0 <= looks(watch(connection), connection, 10) <= 3.3


def test_a_dribble_counts_as_silence_even_if_each_drop_keeps_the_disk_busy_for_a_moment() -> None:
    connection = Connection()
    assert 3.0 <= looks(watch(connection), connection, 20, busy_every=5, rate=300) <= 4.5


def test_a_slow_line_is_left_alone() -> None:
    connection = Connection()
    assert looks(watch(connection), connection, 60, rate=5000) == 60


def test_time_that_the_disk_takes_is_not_the_lines_fault() -> None:
    connection = Connection()
    assert looks(watch(connection), connection, 20, busy_every=1) == 20


def test_a_sleep_of_the_machine_is_no_silence() -> None:
    connection = Connection()
    watched = watch(connection)
    watched.look(100)
    watched.look(100.1)
    watched.look(4000)
    assert not connection.ended


def test_silence_that_others_wait_for_is_ended_sooner() -> None:
    connection = Connection()
    assert 3.0 <= looks(watch(connection, waiting(), patience=30), connection, 40) <= 3.3


def test_a_line_however_slow_is_not_silent_because_others_wait() -> None:
    connection = Connection()
    assert 30.0 <= looks(watch(connection, waiting(), patience=30), connection, 40, rate=10) <= 30.3


def test_every_other_attempt_gets_the_whole_patience() -> None:
    connection = Connection()
    watched = watch(connection, waiting(), patience=30)
    ended = []
    for count in range(1000):
        watched.look(count / 10)
        if connection.ended:
            ended.append(round(count / 10))
            connection.ended, connection.attempt = 0, connection.attempt + 1
    assert ended == pytest.approx([3, 33, 36, 66, 69], abs=1.5)
