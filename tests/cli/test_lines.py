"""The log of a night, as plain lines."""

import io
import re

from qwen_fetch.base.events import Event, FileDone, FileProgress, Note, Phase, Progress, Retry, Started, Waiting
from qwen_fetch.cli.lines import JsonLines, Lines

HOUR = 3600
GB = 10**9


class Night:
    """Lines that are shown with a clock of their own."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        self.lines = Lines(self.stream, lambda: self.now, verbose=verbose)

    def __call__(self, event: Event, seconds: float = 0.0) -> None:
        self.lines.show(event)
        self.now += seconds

    @property
    def text(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_a_night_of_twelve_hours_with_ten_outages_is_short_and_tells_each() -> None:
    night = Night()
    night(Started("a/b", "main", "c0ffee", 39, 58 * GB, 0, "/hub/models--a--b/snapshots/c"))
    night(Phase("download"))
    outages = {HOUR * (1 + number): 60 * (2 + 4 * number) for number in range(10)}
    done, end, tries = 0, 0.0, 0
    while night.now < 12 * HOUR:
        second = int(night.now)
        if second in outages:
            end = night.now + outages[second]
            for worker in range(4):
                night(Retry(f"f{worker}", done, "the connection broke", 1.0, 1))
            tries = 0
        if night.now < end:
            if second % 30 == 0:
                tries += 1
                for worker in range(4):
                    night(Retry(f"f{worker}", done, "example.org refuses the connection", 30.0, tries + 1))
                night(Progress("download", done, 58 * GB, (FileProgress("f0", 1, 2),)), 1)  # a try
            else:
                left = 30 - second % 30
                night(Progress("download", done, 58 * GB, (), f"waiting, next try in {left} s", "refused", left), 1)
            continue
        done += 58 * GB // (9 * HOUR)
        if second % 1100 == 0:
            night(FileDone(f"shard {second}", 5 * GB))
        if second % 97 == 0:  # a line that breaks now and then
            night(Retry("f1", done, "the connection broke", 0.5, 1))
        night(Progress("download", min(done, 58 * GB), 58 * GB, (FileProgress("f0", 1, 2),)), 1)
    assert len(night.text) < 900
    ended = [re.search(r"after (.*)\.", line) for line in night.text if line.startswith("It goes on")]
    assert [match[1] for match in ended if match] == [
        "2 min", "6 min", "10 min", "14 min", "18 min", "22 min", "26 min", "30 min", "34 min", "38 min",
    ]  # fmt: skip
    assert sum(line.startswith("Nothing moves: ") for line in night.text) == 10
    assert any("retries" in line for line in night.text)


def test_the_first_minute_shows_how_it_goes() -> None:
    night = Night()
    for second in range(120):
        night(Progress("download", second, 10**6), 1)
    assert 15 < len(night.text) < 80


def test_small_files_are_counted_and_large_ones_listed() -> None:
    night = Night()
    for number in range(3000):
        night(FileDone(f"{number}.json", 500))
    night(FileDone("large", 10**9), 100)
    night(Progress("download", 5, 10))
    assert night.text == [
        "large  1.0 GB, verified",
        "download: 5 B of 10 B (50 %), 3,000 small files done",
    ]


def test_verbose_lists_everything() -> None:
    night = Night(verbose=True)
    for _ in range(5):
        night(Retry("a", 0, "it broke", 0.1, 1))
        night(FileDone("a.json", 500))
    assert len(night.text) == 10


def test_the_same_wait_is_said_once() -> None:
    night = Night()
    for what in ("a", "a", "b", "a"):
        night(Waiting(what), 100)
    assert night.text == ["Waiting: a", "Waiting: b", "Waiting: a"]


def test_json_tells_a_program_every_retry_and_progress_once_a_second() -> None:
    now, stream = [0.0], io.StringIO()
    lines = JsonLines(stream, lambda: now[0])
    for tenth in range(100):
        now[0] = tenth / 10
        lines.show(Progress("download", tenth, 1000))
        lines.show(Retry("a", 0, "it broke", 0.1, 1))
        lines.show(Waiting("for b"))
    lines.show(Note("end"))
    names = re.findall(r'"event": "(\w+)"', stream.getvalue())
    assert [names.count(name) for name in ("progress", "retry", "waiting", "note")] == [9, 100, 1, 1]
