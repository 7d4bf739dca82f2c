"""Which files are wanted, and whose word counts."""

from __future__ import annotations

import pytest
from huggingface_hub.utils._paths import filter_repo_objects
from hypothesis import given
from hypothesis import strategies as st

from qwen_fetch.base.files import RepoFile, Snapshot
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.settings import DEFAULT_ENDPOINT
from qwen_fetch.listing import snapshot
from qwen_fetch.listing.cached import Said

COMMIT = "c" * 40


PATHS = ["README.md", "model_index.json", "vae/config.json", "vae/w.safetensors", "a/vae/x", "A/B.JSON", "[x]/y", "a*b"]
LISTED = Snapshot("a/b", "main", COMMIT, tuple(RepoFile(p, 1, Digest("sha256", "a" * 64)) for p in PATHS))
patterns = st.lists(
    st.one_of(st.sampled_from([*PATHS, "*", "*.json", "vae/*", "vae/", "*/"]), st.text("av/*?[]!x.Jj", max_size=5)),
    max_size=3,
)


@given(include=patterns, exclude=patterns)
def test_patterns_mean_what_they_mean_to_the_hub_client(include: list[str], exclude: list[str]) -> None:
    theirs = list(filter_repo_objects(PATHS, allow_patterns=include or None, ignore_patterns=exclude))
    if theirs:
        assert [file.path for file in snapshot.select(LISTED, include, exclude)] == theirs
    else:
        with pytest.raises(Problem, match="No file of a/b matches"):
            snapshot.select(LISTED, include, exclude)


def test_no_match_lists_what_there_is() -> None:
    with pytest.raises(Problem) as caught:
        snapshot.select(LISTED, ["*.bin"], ["x"])
    text = "\n".join(caught.value.lines())
    assert "*.bin, (not) x" in text
    assert all(path in text for path in PATHS)
    assert caught.value.exit_code == ExitCode.USAGE


MIRROR = "https://mirror.example"


@pytest.mark.parametrize(
    ("said", "chosen", "endpoint", "old"),
    [
        (None, None, MIRROR, False),
        (MIRROR, None, DEFAULT_ENDPOINT, False),
        (MIRROR, None, "https://another.example", False),
        (DEFAULT_ENDPOINT, None, MIRROR, True),
        (DEFAULT_ENDPOINT, MIRROR, MIRROR, False),
        (DEFAULT_ENDPOINT, None, DEFAULT_ENDPOINT, False),
    ],
    ids=["nobody", "a mirror before", "two mirrors", "a mirror after the Hub", "chosen", "the Hub twice"],
)
def test_only_the_default_hubs_word_outlives_another(
    said: str | None, chosen: str | None, endpoint: str, old: bool
) -> None:
    assert snapshot.old_word_counts(Said(said, 0.0) if said else None, chosen, endpoint) is old


def test_differing_says_which() -> None:
    other = [
        *LISTED.files[1:-1],
        RepoFile("a*b", 2, Digest("sha256", "a" * 64)),
        RepoFile("new", 1, LISTED.files[0].digest),
    ]
    changed = Snapshot("a/b", "main", COMMIT, tuple(other))
    assert snapshot.differing(LISTED, changed) == ["README.md", "a*b", "new"]
    assert snapshot.differing(LISTED, LISTED) == []
