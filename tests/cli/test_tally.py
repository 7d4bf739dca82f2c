"""What is counted, and when a pause is an outage."""

from qwen_fetch.base.events import FileDone, Mismatch, Progress, Retry, Switch
from qwen_fetch.cli.tally import Outage, Tally, counted


def waiting(done: int = 5) -> Progress:
    return Progress("download", done, 10, (), "next try in 3 s (no network)", "no network", 3.0)


def test_events_are_counted_and_said() -> None:
    tally = Tally()
    for event in (
        FileDone("a", 1),
        Retry("a", 0, "cut", 1, 1),
        Retry("a", 0, "cut", 1, 1),
        Switch("a", 0, "http", "x"),
    ):
        tally.take(event, 0)
    tally.take(Mismatch("a", 1), 0)
    assert tally.files == 1
    assert tally.words() == ["2 reconnects", "1 switch", "1 file fetched again"]
    assert counted(0, "file") == ""
    assert counted(1234, "file") == "1,234 files"


def test_an_outage_lasts_until_bytes_come_and_not_only_to_the_next_try() -> None:
    tally = Tally()
    assert tally.take(Progress("download", 5, 10), 0) is None
    told = []
    for second in range(1, 60):
        event = Progress("download", 5, 10) if second % 10 == 0 else waiting()  # a try, that gains nothing
        told += [tally.take(event, float(second))]
    assert [one for one in told if one] == [Outage("no network")]
    assert tally.waited(60) == 59
    assert tally.take(Progress("download", 6, 10), 61) == Outage("", 60)
    assert tally.words() == ["1 outage (1 min)"]


def test_a_short_break_of_all_connections_is_none() -> None:
    tally = Tally()
    for second in (0, 1, 2):
        assert tally.take(waiting(), second) is None
    assert tally.take(waiting(6), 4) is None
    assert tally.outages == []


def test_the_hub_that_answers_ends_it_too() -> None:
    tally = Tally()
    for second in range(20):
        tally.take(Progress("listing", 0, 0, (), "next try", "no network"), second)
    outage = tally.take(Progress("download", 0, 10), 20)
    assert outage is not None
    assert outage.seconds == 20
