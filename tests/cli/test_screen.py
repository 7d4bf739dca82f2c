"""The screen, as it is seen: frames are kept in `frames/`, and drawn anew by ``pytest tests/cli --draw``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from glass import Glass

from qwen_fetch.base import door
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
from qwen_fetch.cli.progress import Display

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = Path(__file__).with_name("frames")
WIDTHS = [40, 80, 120]
GB = 10**9
TOTAL, HERE = 57_700_000_000, 12_100_000_000
ENCODER = "text_encoder/model-00001-of-00004.safetensors"
STARTED = Started(
    "Qwen/Qwen-Image-Edit", "main", "c0ffee00" * 5, 39, TOTAL, HERE, "/data/hub/models--Q--E/snapshots/c0"
)  # fmt: skip
REFUSED = "huggingface.co refuses the connection"


def shard(number: int) -> str:
    return f"transformer/diffusion_pytorch_model-{number:05}-of-00009.safetensors"


class Show:
    """A display on a glass, with a clock of its own."""

    def __init__(self, glass: Glass, *, verbose: bool = False) -> None:
        self.glass = glass
        self.now = 1000.0
        self.done = HERE
        self.display = Display("bar", glass, verbose=verbose, clock=lambda: self.now)

    def tell(self, *events: Event) -> None:
        for event in events:
            self.display(event)

    def begin(self) -> None:
        self.tell(Phase("listing"), STARTED, Phase("download"))

    def move(self, seconds: int = 30, *, files: tuple[str, ...] = (shard(3), shard(4), ENCODER)) -> None:
        """A line of 8 MB/s for so long."""
        for _ in range(seconds * 4):
            self.now += 0.25
            self.done += 2_000_000
            mine = (self.done - HERE) // 4
            flying = tuple(
                FileProgress(path, 10**9 * (3 - place) + mine, 4_900_000_000) for place, path in enumerate(files)
            )
            self.tell(Progress("download", self.done, TOTAL, flying))

    def wait(self, seconds: int = 42) -> None:
        for quarter in range(seconds * 4 + 1):
            self.now += 0.25
            left = 55 - quarter / 4
            flying = (FileProgress(shard(3), 3 * 10**9, 4_900_000_000), FileProgress(ENCODER, 10**9, 4_900_000_000))
            self.tell(Progress("download", self.done, TOTAL, flying, f"waiting ({REFUSED})", REFUSED, left))


def start(show: Show) -> None:
    show.tell(Phase("listing"))
    show.now += 0.5
    show.tell(Progress("listing", 0, 0))


def listing(show: Show) -> None:
    start(show)
    show.now += 0.5
    show.tell(Progress("listing", 3000, 0))


def middle(show: Show) -> None:
    show.begin()
    show.move()
    show.tell(*(FileDone(f"{number}.json", 500) for number in range(11)))
    show.move(1)


def retry(show: Show) -> None:
    middle(show)
    show.tell(
        Retry(shard(3), 5, "the connection broke", 0.2, 1),
        Retry(shard(4), 5, "no byte for 30 s", 0.2, 1),
        Switch(shard(4), 5, "http", "Xet: no byte for 30 s"),
    )
    show.move(1)


def waits(show: Show) -> None:
    retry(show)
    show.wait()


def silence(show: Show) -> None:
    middle(show)
    for _ in range(60):
        show.now += 0.25
        show.tell(Progress("download", show.done, TOTAL, (FileProgress(shard(3), 3 * 10**9, 4_900_000_000),)))


def held(show: Show) -> None:
    show.begin()
    for _ in range(60):
        show.now += 0.25
        show.tell(
            Waiting("vae/diffusion_pytorch_model.safetensors is being downloaded by another program (process 4711)")
        )
        show.tell(Progress("download", HERE, TOTAL))


def verify(show: Show) -> None:
    show.tell(Phase("verify"))
    for quarter in range(80):
        show.now += 0.25
        show.tell(Progress("verify", quarter * 200_000_000, TOTAL))


def note(show: Show) -> None:
    middle(show)
    show.tell(Note("main has moved from 01234567 to c0ffee00"), Mismatch(shard(9), 5 * GB))
    show.move(1)


def end(show: Show) -> None:
    waits(show)
    show.tell(Phase("link"), Progress("link", 0, 0), Phase("done"))


SCENES: list[Callable[[Show], None]] = [start, listing, middle, retry, waits, silence, held, verify, note, end]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Show]:
    for name in ("NO_COLOR", "FORCE_COLOR", "TMUX", "STY", "WT_SESSION", "TERM_PROGRAM", "ConEmuANSI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return lambda columns=80, rows=24, encoding="utf-8", **options: Show(
        Glass(monkeypatch, columns, rows, encoding), **options
    )


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("scene", SCENES)
def test_the_screen_is_as_drawn(
    scene: Callable[[Show], None], columns: int, show: Callable[..., Show], request: pytest.FixtureRequest
) -> None:
    shown = show(columns)
    scene(shown)
    path = FRAMES / f"{scene.__name__}-{columns}.txt"
    if request.config.getoption("--draw"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown.glass.text, encoding="utf-8")
    assert shown.glass.text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [1, 10, 30, 64, 65, 99, 100, 200])
def test_no_line_wraps_at_any_width_and_nothing_is_left(columns: int, show: Callable[..., Show]) -> None:
    shown = show(columns, 60)
    for scene in (start, middle, waits, held, verify):
        scene(shown)
        assert len(shown.glass.lines) <= 7
        assert all(len(line) < columns or columns < 3 for line in shown.glass.lines)
        assert shown.glass.screen.cursor.y == 0
    shown.tell(Phase("done"))
    assert shown.glass.lines == []


@pytest.mark.parametrize("columns", [(120, 60), (60, 120), (120, 40, 200, 80), (80, 25)])
def test_a_resize_leaves_no_rubbish(columns: tuple[int, ...], show: Callable[..., Show]) -> None:
    shown = show(columns[0])
    middle(shown)
    shown.tell(Note("this stays"))
    for width in columns:
        shown.glass.resize(width)
        shown.move(1)
        fresh = show(width)
        middle(fresh)
        shown.glass.resize(width)
        shown.move(1)
        lines = shown.glass.lines
        assert lines[0].startswith("note: this stays")
        assert sum(line.startswith("total") for line in lines) == 1
        assert len(lines) == len(fresh.glass.lines) + 1
    shown.display.close()
    assert shown.glass.text == "note: this stays\n"


def test_after_ctrl_z_everything_is_drawn_anew(show: Callable[..., Show]) -> None:
    shown = show()
    middle(shown)
    before = shown.glass.lines
    shown.glass.write("\n" * len(before) + "[1]+  Stopped\n$ fg\n")
    shown.now += 60
    shown.tell(Progress("download", shown.done, TOTAL, (FileProgress(shard(3), 3 * 10**9, 4_900_000_000),)))
    lines = shown.glass.lines
    after = lines[lines.index("$ fg") + 1 :]
    assert after[0] == before[0]
    assert [line.split()[0] for line in after[1:3]] == ["total", "transformer"]


def test_more_files_than_rows_are_no_trouble(show: Callable[..., Show]) -> None:
    shown = show(80, 8)
    shown.begin()
    shown.move(files=tuple(shard(number) for number in range(1, 10)))
    assert len(shown.glass.lines) < 8
    assert shown.glass.lines[1].startswith("total")


def test_a_row_stays_where_it_is_while_its_file_is_in_flight(show: Callable[..., Show]) -> None:
    shown = show()
    shown.begin()
    for files, names in (
        ((shard(1), shard(2), shard(3)), ["1/9", "2/9", "3/9"]),
        ((shard(3), shard(1), shard(5)), ["1/9", "5/9", "3/9"]),
        ((shard(3),), ["3/9"]),
    ):
        shown.move(1, files=files)
        assert [line.split()[1] for line in shown.glass.lines if line.startswith("transformer")] == names


def test_files_that_are_done_are_counted_and_with_v_listed(show: Callable[..., Show]) -> None:
    for verbose in (False, True):
        shown = show(verbose=verbose)
        retry(shown)
        assert any("11 files done, all verified" in line for line in shown.glass.lines)
        assert any("5.json 500 B, verified" in line for line in shown.glass.lines) == verbose
        assert any(line.startswith("transformer/") for line in shown.glass.lines) == verbose


def test_what_is_said_while_bars_are_drawn_comes_above_them(
    show: Callable[..., Show], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = show()
    middle(shown)
    monkeypatch.setattr("sys.stdout", shown.glass)
    door.say("a finding on stdout")
    shown.move(1)
    assert shown.glass.lines[0] == "a finding on stdout"
    assert shown.glass.lines[2].startswith("total")
    shown.display.close()
    assert shown.glass.text == "a finding on stdout\n"


def test_colour_says_the_state_and_can_be_switched_off(
    show: Callable[..., Show], monkeypatch: pytest.MonkeyPatch
) -> None:
    def colour(shown: Show) -> str:
        return str(shown.glass.screen.buffer[1][20].fg)  # in the bar of the whole

    shown = show()
    middle(shown)
    assert colour(shown) == "green"
    shown.wait(10)
    assert colour(shown) == "brown"  # as pyte calls yellow
    monkeypatch.setenv("NO_COLOR", "1")
    shown = show()
    middle(shown)
    assert colour(shown) == "default"


def test_signs_that_the_encoding_lacks_are_not_drawn(show: Callable[..., Show]) -> None:
    shown = show(encoding="cp437")
    start(shown)
    assert shown.glass.lines[0].endswith(" asking the Hub what there is")
    assert shown.glass.lines[0][0] in "|/-\\"
    waits(shown)
    assert "\\u" not in "".join(shown.glass.written)  # how the door writes what cannot be encoded
    assert "####" in shown.glass.lines[1]
    assert "->" in shown.glass.lines[0]


@pytest.mark.parametrize(
    ("variables", "shown_there"),
    [
        ({}, False),
        ({"WT_SESSION": "x"}, True),
        ({"ConEmuANSI": "ON"}, True),
        ({"TERM_PROGRAM": "ghostty"}, True),
        ({"TERM_PROGRAM": "WezTerm"}, True),
        ({"TERM_PROGRAM": "ghostty", "TMUX": "x"}, False),
        ({"TERM_PROGRAM": "iTerm.app"}, False),
    ],
)
def test_the_task_bar_shows_progress_where_there_is_one_and_is_put_back(
    variables: dict[str, str], shown_there: bool, show: Callable[..., Show], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = show
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shown = made()
    waits(shown)
    shown.tell(Phase("done"))
    shown.display.close()
    codes = [part.split("\x1b\\")[0] for text in shown.glass.written for part in text.split("\x1b]9;4;")[1:]]
    assert bool(codes) == shown_there
    if codes:
        assert "1;21" in codes
        assert "4;21" in codes  # waiting
        assert codes[-1] == "0;0"


def test_a_secret_and_a_control_code_in_a_name_do_not_reach_the_screen(
    show: Callable[..., Show], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_geheimgeheim")
    shown = show()
    shown.begin()
    shown.move(1, files=("a\x1b[2J\nb", "hf_geheimgeheim"))
    shown.tell(Progress("download", HERE, TOTAL, (), "x", "hf_geheimgeheim\x1b[1A", 1.0))
    assert "geheim" not in "".join(shown.glass.written)
    assert "[2J" not in "".join(shown.glass.written).replace("x1b[2J", "")
    assert sum(line.startswith("total") for line in shown.glass.lines) == 1


def test_drawing_costs_less_than_a_hundredth_of_the_time(show: Callable[..., Show]) -> None:
    shown = show(200)
    shown.glass.write = len  # type: ignore[assignment] # the glass itself is slow
    shown.begin()
    files = tuple(shard(number) for number in range(1, 9))
    began = time.process_time()
    for _ in range(600):  # a minute as the transfer reports it
        shown.now += 0.1
        shown.done += 800_000
        shown.tell(
            Progress(
                "download", shown.done, TOTAL, tuple(FileProgress(path, shown.done // 9, 5 * GB) for path in files)
            )
        )
    assert time.process_time() - began < 0.6
