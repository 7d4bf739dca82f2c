"""What is shown: for people on a terminal, in a log, and for programs; and nothing that can fail the download."""

import io
import json
import re
import time
from collections.abc import Callable

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
from qwen_fetch.cli.progress import Display, Style

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

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def isatty(self) -> bool:
        return self._tty


class Closed(Stream):
    """A pipe whose reader has gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def eager() -> Callable[[], float]:
    """Progress is shown each time: as if minutes passed between two events."""
    clock = iter(range(0, 10**9, 100))
    return lambda: float(next(clock))


def shown(style: Style, events: list[Event], *, tty: bool = False) -> str:
    stream = Stream(tty)
    display = Display(style, stream, clock=eager())
    for event in events:
        display(event)
    display.close()
    display(Note("too late"))
    display.close()
    assert "too late" not in stream.getvalue()
    return stream.getvalue()


@pytest.mark.parametrize(("style", "tty"), [("plain", False), ("plain", True), ("auto", False), ("json", True)])
def test_no_control_codes_but_on_a_terminal_that_is_drawn_on(style: Style, tty: bool) -> None:
    text = shown(style, EVENTS, tty=tty)
    assert text.endswith("\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


@pytest.mark.parametrize(
    ("variables", "tty", "bars"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"HF_HUB_DISABLE_PROGRESS_BARS": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, False),
    ],
)
def test_bars_where_they_can_be_drawn_and_are_wanted(
    variables: dict[str, str], tty: bool, bars: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({"TERM": "xterm"} | variables).items():
        monkeypatch.setenv(name, value)
    text = shown("auto", EVENTS, tty=tty)
    assert ("━" in text) == bars
    assert ("\x1b" in text) == bars


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
def test_a_reader_that_has_gone_does_not_fail_the_download(style: Style) -> None:
    display = Display(style, Closed(tty=True), clock=eager())
    for event in EVENTS:
        display(event)
    display.close()


@pytest.mark.parametrize("style", ["bar", "plain", "json"])
def test_a_reader_that_goes_just_before_the_end_neither(style: Style) -> None:
    stream = Stream(tty=True)
    display = Display(style, stream, clock=eager())
    for event in EVENTS:
        display(event)
    stream.close()
    display(Note("nobody reads it"))
    display.close()

    stream = Stream(tty=True)
    display = Display(style, stream, clock=eager())
    for event in EVENTS:
        display(event)
    stream.close()
    display.close()


def test_off_is_off() -> None:
    assert shown("off", EVENTS, tty=True) == ""


def test_the_same_wait_is_said_once() -> None:
    text = shown("plain", [Waiting("a"), Waiting("a"), Waiting("b"), Waiting("a")])
    assert text.splitlines() == ["Waiting: a", "Waiting: b", "Waiting: a"]


def test_a_real_clock_shows_the_first_line_at_once() -> None:
    began = time.monotonic()
    assert shown("plain", [STARTED]).startswith("a/b at main")
    assert time.monotonic() - began < 1
