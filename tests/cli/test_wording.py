"""The words for events, names, amounts and times."""

from pathlib import Path

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
from qwen_fetch.base.units import amount_text
from qwen_fetch.cli.wording import (
    clock_text,
    home_text,
    left_text,
    name_text,
    progress_line,
    sentence,
    shortened,
)

STARTED = Started("a/b", "main", "c0ffee00" + "0" * 32, 3, 57_700_000_000, 0, "/hub/x")


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
    assert (
        progress_line(event, 10, 75, "2 retries")
        == "download: 250 B of 1.0 KB (25 %), 10 B/s, 1 min left, 2 retries, a 50 %; b 0 %"
    )
    assert progress_line(Progress("listing", 0, 0), 0, None) == "listing ..."
    assert progress_line(Progress("listing", 3000, 0), 0, None) == "listing ... 3,000 files"
    assert progress_line(Progress("x", 0, 0, waiting="for rain"), 0, None) == "x: for rain"
    assert progress_line(Progress("x", 999, 1000), 0, None) == "x: 999 B of 1.0 KB (99 %)"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("transformer/diffusion_pytorch_model-00003-of-00009.safetensors", "transformer 3/9"),
        ("text_encoder/model-00001-of-00004.safetensors", "text_encoder 1/4"),
        ("model-00012-of-00163.safetensors", "model 12/163"),
        ("vae/diffusion_pytorch_model.safetensors", "vae"),
        ("vae/config.json", "vae/config.json"),
        ("diffusion_pytorch_model.safetensors", "diffusion_…safetensors"),
        ("BF16/Qwen-Image-Edit-2509-Q4_K_M.gguf", "BF16/Qwen-…Q4_K_M.gguf"),
    ],
)
def test_files_have_the_names_that_people_give_them(path: str, name: str) -> None:
    assert name_text(path, 22) == name


def test_a_shortened_text_keeps_both_ends() -> None:
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abc", 3) == "abc"
    assert [len(shortened("abcdefghij", width)) for width in range(1, 11)] == list(range(1, 11))


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [
        (28_300_000_000, 57_700_000_000, "28.3/57.7 GB"),
        (40_000_000, 253_800_000, "40/254 MB"),
        (0, 5_000_000_000, "0.0/5.0 GB"),
        (512, 999, "512/999 B"),
        (10**9, 4 * 10**12, "0.00/4.00 TB"),
        (999_600, 999_600, "1.0/1.0 MB"),
    ],
)
def test_amounts_are_in_one_unit(done: int, total: int, text: str) -> None:
    assert amount_text(done, total) == text


def test_times() -> None:
    assert [left_text(seconds) for seconds in (3, 42, 89, 90, 3500, 3580, 3660, 36_000, 400_000)] == [
        "3 s", "40 s", "90 s", "2 min", "58 min", "1 h 00", "1 h 01", "10 h 00", "5 days",
    ]  # fmt: skip
    assert [clock_text(seconds) for seconds in (0, 42.9, 754, 3723)] == ["00:00", "00:42", "12:34", "1:02:03"]


def test_a_path_is_shown_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert home_text(str(tmp_path / "hub")) == "~" + str(tmp_path / "hub")[len(str(tmp_path)) :]
    assert home_text(str(tmp_path) + "2") == str(tmp_path) + "2"


def test_without_a_home_a_path_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    assert home_text("/data/hub") == "/data/hub"
