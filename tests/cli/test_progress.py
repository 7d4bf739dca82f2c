"""What is shown: for people on a terminal, in a log, and for programs; and nothing that can fail the download."""

import io
import json
import re
import time

import pytest

from qwen_fetch.base.events import (
    Event,
    FileDone,
    FileProgress,
    Mismatch,
    Note,
    Phase,
    Progress,
    Retry,
    Started,
    Switch,
    Waiting,
)
from qwen_fetch.cli.progress import Display, Meter, Style, progress_line, rate_text, sentence, short

SHARD = "transformer/diffusion_pytorch_model-00003-of-00009.safetensors"
STARTED = Started("a/b", "main", "c0ffee00" + "0" * 32, 3, 57_700_000_000, 0, "/hub/x")
EVENTS: list[Event] = [
    STARTED,
    Phase("download"),
    Progress("download", 10, 100, (FileProgress(SHARD, 10, 100),)),
    Retry(SHARD, 1_000_000, "the connection broke", 0, 1),
    Switch(SHARD, 1_000_000, "http", "Xet: server error"),
    Waiting("x is being downloaded by another program"),
    Mismatch(SHARD, 5_000_000_000),
    FileDone(SHARD, 5_000_000_000),
    Note("something"),
    Progress("verify", 100, 100),
]


class Stream(io.StringIO):
    def __init__(self, tty: bool) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


class Closed(Stream):
    """A pipe whose reader has gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is shown each time: as if minutes passed between two events."""
    clock = iter(range(0, 10**9, 100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))


def shown(style: Style, events: list[Event], *, tty: bool = False) -> str:
    stream = Stream(tty)
    display = Display(style, stream)
    for event in events:
        display(event)
    display.close()
    display(Note("too late"))
    display.close()
    assert "too late" not in stream.getvalue()
    return stream.getvalue()


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("style", "tty"), [("plain", False), ("plain", True), ("auto", False), ("json", True)])
def test_no_control_codes_but_on_a_terminal_that_is_drawn_on(style: Style, tty: bool) -> None:
    text = shown(style, EVENTS, tty=tty)
    assert text.endswith("\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


@pytest.mark.usefixtures("eager")
def test_bars_on_a_terminal() -> None:
    text = shown("auto", EVENTS, tty=True)
    assert "\r" in text
    assert "10%|" in text
    assert "-00003-of-00009.safetensors" in text
    assert "the connection broke; trying again" in text


@pytest.mark.usefixtures("eager")
def test_bars_make_room_for_the_files_of_the_moment() -> None:
    stream = Stream(tty=True)
    display = Display("bar", stream)
    for names in (["a", "b", "c"], ["c"], ["c", "d", "e"], []):
        display(Progress("download", 5, 10, tuple(FileProgress(name, 1, 2) for name in names)))
        assert display._view is not None
        bars = {name: bar.pos for name, (bar, _) in display._view._files.items()}  # type: ignore[attr-defined]
        assert sorted(bars) == names
        assert len(set(bars.values())) == len(names)
        assert all(-3 <= place <= -1 for place in bars.values())
    display.close()


@pytest.mark.usefixtures("eager")
def test_json_lines_are_json_and_name_their_event() -> None:
    lines = [json.loads(line) for line in shown("json", EVENTS).splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__.lower() for event in EVENTS]
    assert lines[0]["bytes_total"] == 57_700_000_000
    assert lines[2]["files"] == [{"path": SHARD, "done": 10, "size": 100}]
    assert {"done", "total", "bytes_per_second", "seconds_left", "waiting"} <= set(lines[2])


def test_json_lines_stay_lines_whatever_a_name_holds() -> None:
    text = shown("json", [Note("a\nb\u2028c\x1b")])
    assert text.count("\n") == 1
    assert json.loads(text)["text"] == "a\nb\u2028c\x1b"


@pytest.mark.parametrize("style", ["bar", "plain", "json"])
@pytest.mark.usefixtures("eager")
def test_a_reader_that_has_gone_does_not_fail_the_download(style: Style) -> None:
    display = Display(style, Closed(tty=True))
    for event in EVENTS:
        display(event)
    display.close()


@pytest.mark.parametrize("style", ["bar", "plain", "json"])
@pytest.mark.usefixtures("eager")
def test_a_reader_that_goes_just_before_the_end_neither(style: Style) -> None:
    stream = Stream(tty=True)
    display = Display(style, stream)
    for event in EVENTS:
        display(event)
    stream.close()
    display(Note("nobody reads it"))
    display.close()

    stream = Stream(tty=True)
    display = Display(style, stream)
    for event in EVENTS:
        display(event)
    stream.close()
    display.close()


def test_off_is_off() -> None:
    assert shown("off", EVENTS, tty=True) == ""


def test_plain_progress_becomes_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = Stream(tty=False)
    display = Display("plain", stream)
    for _ in range(8 * 3600):
        now[0] += 1.0
        display(Progress("download", int(now[0]), 10**6))
    # The first minute shows how it goes; a night does not fill the log.
    assert 200 < stream.getvalue().count("\n") < 1200


def test_the_same_wait_is_said_once() -> None:
    text = shown("plain", [Waiting("a"), Waiting("a"), Waiting("b"), Waiting("a")])
    assert text.splitlines() == ["Waiting: a", "Waiting: b", "Waiting: a"]


# --- the meter


def test_the_rate_is_that_of_the_last_seconds_and_not_of_earlier_runs() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
    assert meter.rate(10**9) == 0  # here before
    now[0] = 1.0
    assert meter.rate(10**9 + 500) == 500
    for second in range(2, 40):
        now[0] = float(second)
        rate = meter.rate(10**9 + 500 + 2000 * (second - 1))
    assert rate == 2000
    for second in range(40, 60):
        now[0] = float(second)
        rate = meter.rate(10**9 + 500 + 2000 * 38)
    assert rate == 0


def test_thrown_away_bytes_are_no_negative_rate() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
    for done in (0, 1000, 200, 700):
        now[0] += 1
        rate = meter.rate(done)
        assert rate >= 0
    assert rate == 500


# --- sentences


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (STARTED, "a/b at main (c0ffee00): 3 files, 57.7 GB, 57.7 GB to fetch, to /hub/x"),
        (
            Started("a/b", "main", "c0ffee00", 3, 2000, 500, "/x"),
            "a/b at main (c0ffee00): 3 files, 2.0 KB, 500 B already here, 1.5 KB to fetch, to /x",
        ),
        (
            Started("a/b", "main", "c0ffee00", 1, 500, 500, "/x"),
            "a/b at main (c0ffee00): 1 files, 500 B, 500 B already here, nothing to fetch, to /x",
        ),
        (Retry("a", 1_234_567, "it broke.", 0.4, 1), "a at byte 1,234,567: it broke; trying again"),
        (Retry("a", 0, "it broke", 7.6, 3), "a at byte 0: it broke; next try in 8 s"),
        (Retry("", 0, "No answer.", 2, 1), "No answer; next try in 2 s"),
        (Switch("a", 1000, "http", "silence"), "a goes on over HTTP from byte 1,000: silence"),
        (Mismatch("a", 5_000_000), "a arrived with a wrong digest: 5.0 MB thrown away, fetching it again"),
        (FileDone("a", 5_000_000), "a  5.0 MB, verified"),
        (Waiting("x holds it"), "Waiting: x holds it"),
        (Note("look"), "note: look"),
        (Phase("verify"), ""),
        (Progress("download", 0, 1), ""),
    ],
)
def test_each_event_in_a_sentence(event: Event, text: str) -> None:
    assert sentence(event) == text


def test_progress_in_one_line() -> None:
    event = Progress("download", 250, 1000, (FileProgress("a", 1, 2), FileProgress("b", 0, 0)))
    assert progress_line(event, 10) == "download: 250 B of 1.0 KB (25 %), 10 B/s, 1 min left, a 50 %; b 0 %"
    assert progress_line(Progress("listing", 0, 0), 0) == "listing ..."
    assert progress_line(Progress("x", 0, 0, waiting="for rain"), 0) == "x: for rain"
    assert rate_text(0, 5) == "5 B/s"
    assert rate_text(5, 0) == ""


def test_a_long_path_is_shown_by_its_end() -> None:
    assert short("vae/config.json") == "vae/config.json"
    assert short(SHARD).endswith("-00003-of-00009.safetensors")
    assert len(short(SHARD)) == 32


def test_a_real_clock_shows_the_first_line_at_once() -> None:
    began = time.monotonic()
    assert shown("plain", [STARTED]).startswith("a/b at main")
    assert time.monotonic() - began < 1
