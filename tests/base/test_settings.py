"""Settings are valid by construction; bad input is one clear line and exit code 2."""

from pathlib import Path
from typing import Any

import pytest

from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.settings import Settings
from qwen_fetch.base.units import parse_bytes, size_text, time_text


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("repo_id", "../../etc"),
        ("repo_id", "a/b/c"),
        ("repo_id", "owner--name"),
        ("repo_id", ""),
        ("revision", "../main"),
        ("revision", ""),
        ("timeout", 0.0),
        ("timeout", -1.0),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("stall_timeout", 0.0),
        ("endpoint", "https://huggingface.co,"),
        ("endpoint", "http://cache:8000,nonsense"),
        ("endpoint", "http://cache:8000 https://huggingface.co"),
        ("max_workers", 0),
        ("max_workers", 1000),
        ("max_retries", 0),
        ("limit_rate", 0),
        ("transport", "ftp"),
        ("endpoint", "huggingface.co"),
        ("endpoint", "ftp://huggingface.co"),
        ("endpoint", "https://user:secret@huggingface.co"),
    ],
)
def test_what_makes_no_sense_is_refused(option: str, value: Any) -> None:
    with pytest.raises(Problem) as caught:
        Settings(**{option: value})
    assert caught.value.exit_code == ExitCode.USAGE
    assert "--" + option.replace("_", "-") in caught.value.what
    assert "\n" not in caught.value.what
    assert "secret" not in caught.value.what or option != "endpoint"


def test_the_command_to_go_on_repeats_the_request_without_the_token() -> None:
    settings = Settings(repo_id="a/b", cache_dir=Path("my cache"), include=("*.json",), token="hf_secret")
    command = settings.command("--cleanup")
    assert "--repo-id a/b" in command
    assert "'my cache'" in command or '"my cache"' in command
    assert command.endswith("--cleanup")
    assert "hf_secret" not in command
    assert "hf_secret" not in repr(settings)


def test_the_command_carries_what_was_given_and_nothing_else() -> None:
    assert Settings().command().split(" ")[-1].endswith(("qwen-fetch", ".py", "pytest", "__main__.py"))
    settings = Settings(
        revision="fix#7", endpoint="https://mirror.example/hf", max_workers=8, limit_rate=5_000_000, transport="http"
    )
    words = settings.command()
    for given in (
        "--endpoint https://mirror.example/hf",
        "--max-workers 8",
        "--limit-rate 5000000",
        "--transport http",
    ):
        assert given in words
    assert "'fix#7'" in words or '"fix#7"' in words
    assert "--timeout" not in words
    assert settings.command("--transport", "xet").endswith("--limit-rate 5000000 --transport xet")
    assert settings.command("--diagnose").endswith("--endpoint https://mirror.example/hf --diagnose")


@pytest.mark.parametrize(
    ("revision", "right"),
    [
        *((name, True) for name in ("main", "v1.0", "refs/pr/1", "fix#7", "分支", "a@b", "a{b", "f" * 40, "ü/ö")),
        *((name, False) for name in ("a..b", "a b", "-x", "@", "a@{b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock")),
        *((name, False) for name in ("a.", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "a\nb", "a\x7f", "é" * 200)),
    ],
)
def test_a_revision_is_what_git_takes_for_a_ref(revision: str, right: bool) -> None:
    if right:
        assert Settings(revision=revision).revision == revision
    else:
        with pytest.raises(Problem):
            Settings(revision=revision)


@pytest.mark.parametrize(
    ("text", "count"),
    [("20M", 20_000_000), ("1.5G", 1_500_000_000), ("800k", 800_000), ("64MiB", 64 << 20), ("5000", 5000)],
)
def test_bytes_as_people_write_them(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "fast", "-5M", "5X", "M", "1e6"])
def test_what_is_no_number_of_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="not a number of bytes"):
        parse_bytes(text)


def test_sizes_and_times_for_people() -> None:
    assert [size_text(n) for n in (0, 999, 1000, 57_718_778_989, 10**15)] == [
        "0 B",
        "999 B",
        "1.0 KB",
        "57.7 GB",
        "1000.00 TB",
    ]
    assert [time_text(s) for s in (3, 59.4, 600, 5400, 40_000)] == ["3 s", "59 s", "10 min", "1 h 30 min", "11 h 7 min"]


def test_a_second_endpoint_is_for_when_the_first_is_away() -> None:
    first = Settings(endpoint="http://cache:8000/,https://huggingface.co")
    assert (first.hub_endpoint, first.host, first.give_up_here) == ("http://cache:8000", "cache", 15.0)
    second = first.elsewhere
    assert second is not None
    assert (second.hub_endpoint, second.elsewhere) == ("https://huggingface.co", None)
    assert second.give_up_here == second.give_up_after
    assert Settings(endpoint="http://a,http://b", give_up_after=3.0).give_up_here == 3.0


def test_the_command_does_not_wake_who_wants_to_sleep() -> None:
    settings = Settings(keep_awake=False)
    assert settings.command().endswith("--no-keep-awake")
    assert "--no-keep-awake" not in settings.command("--status-only")
