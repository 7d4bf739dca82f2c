"""What the Hub lists: believed only after a look, and read from the Hub client's cache as the client reads it."""

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.utils._paths import filter_repo_objects
from hypothesis import given
from hypothesis import strategies as st

from qwen_fetch.base.files import RepoFile, Snapshot
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.settings import Settings
from qwen_fetch.cache.store import Store
from qwen_fetch.listing import snapshot
from qwen_fetch.listing.hub import Hub
from qwen_fetch.localhub.hub import LocalHub

COMMIT = "c" * 40
GOOD = {"size": 10, "blob_id": "b" * 40, "lfs_sha256": "a" * 64, "xet_hash": "d" * 64}


def settings_of(tmp_path: Path, **more: Any) -> Settings:
    return Settings(cache_dir=tmp_path / "hub", **more)


def tree(tmp_path: Path, files: dict[str, Any], *, commit: str = COMMIT, version: int = 1, ref: str = "main") -> Store:
    """A cache that knows a tree, as the Hub client writes it."""
    store = Store(tmp_path / "hub", "Qwen/Qwen-Image-Edit")
    for path, text in (
        (store.repo / "refs" / ref, commit),
        (store.repo / "trees" / f"{commit}.json", json.dumps({"format_version": version, "files": files})),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return store


def test_the_cached_tree_is_read_as_the_hub_client_reads_it(tmp_path: Path) -> None:
    # The client's own reader and writer, on what the client was told: when the format moves, this fails.
    repo = tmp_path / "repo"
    (repo / "vae").mkdir(parents=True)
    (repo / "vae" / "config.json").write_bytes(b"{}")
    (repo / "model.safetensors").write_bytes(b"x" * 20_000)
    with LocalHub(repo) as hub:
        settings = settings_of(tmp_path, endpoint=hub.endpoint)
        store = Store(settings.hub_cache, settings.repo_id)
        online = snapshot.fetch(Hub(settings), store, keep=False)
        assert not store.repo.exists()
        listed = snapshot.fetch(Hub(settings), store, keep=True)
        assert listed == online
    offline = snapshot.cached(settings, store)
    assert offline == listed
    theirs = huggingface_hub.get_cached_repo_tree(
        settings.repo_id, revision=listed.commit, cache_dir=settings.hub_cache
    )
    assert theirs is not None
    entries = {entry.path: (entry.size, entry.blob_id, entry.xet_hash) for entry in theirs}
    assert {path: (size, hash_) for path, (size, _, hash_) in entries.items()} == {
        file.path: (file.size, file.xet_hash) for file in listed.files
    }
    assert {file.path: file.digest.hex for file in listed.files if not file.is_large} == {
        "vae/config.json": entries["vae/config.json"][1]
    }
    (large,) = [file for file in listed.files if file.is_large]
    assert large.digest == Digest("sha256", hub.entry("model.safetensors").sha256 or "")
    assert listed.size == 20_002


def test_a_branch_and_its_commit_are_the_same_snapshot(tmp_path: Path) -> None:
    store = tree(tmp_path, {"a": GOOD}, ref="refs/pr/1")
    assert snapshot.cached(settings_of(tmp_path), store) is None
    for revision in ("refs/pr/1", COMMIT):
        known = snapshot.cached(settings_of(tmp_path, revision=revision), store)
        assert known is not None
        assert known.files == (RepoFile("a", 10, Digest("sha256", "a" * 64), "d" * 64),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\ud800",
        '{"files": {}}',
        '{"format_version": 1}',
        '{"format_version": 2, "files": {}}',
        '{"format_version": 1, "files": []}',
        '{"format_version": 1, "files": {"a": 1}}',
    ],
)
def test_a_damaged_tree_is_unknown(tmp_path: Path, text: str) -> None:
    store = tree(tmp_path, {})
    (store.repo / "trees" / f"{COMMIT}.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert snapshot.cached(settings_of(tmp_path), store) is None


@pytest.mark.parametrize("text", [b"", b"main", b"../../x", b"C" * 40, b"c" * 39, b"\xff\xfe"])
def test_a_damaged_ref_is_unknown(tmp_path: Path, text: bytes) -> None:
    store = tree(tmp_path, {"a": GOOD})
    (store.repo / "refs" / "main").write_bytes(text)
    assert snapshot.cached(settings_of(tmp_path), store) is None


UNSAFE = [
    pytest.param("../x", {}, id="out of the folder"),
    pytest.param("a/../../x", {}, id="out of the folder, on a way round"),
    pytest.param("a/..", {}, id="the folder itself"),
    pytest.param("/etc/passwd", {}, id="absolute"),
    pytest.param("", {}, id="no name"),
    pytest.param(".", {}, id="this folder"),
    pytest.param("a//b", {}, id="an empty part"),
    pytest.param("a/", {}, id="a folder"),
    pytest.param("a/./b", {}, id="a part that is this folder"),
    pytest.param("a\\..\\b", {}, id="a Windows path"),
    pytest.param("\\\\server\\share", {}, id="a Windows share"),
    pytest.param("//server/share/x", {}, id="a share"),
    pytest.param("C:x", {}, id="a drive"),
    pytest.param("C:/x", {}, id="a drive's root"),
    pytest.param("a/C:x", {}, id="a drive further on: joined, it takes over"),
    pytest.param("a\nb", {}, id="a line break"),
    pytest.param("a\x00b", {}, id="a null"),
    pytest.param("a\x1b[2Jb", {}, id="a terminal's escape"),
    pytest.param("a\x7fb", {}, id="delete"),
    pytest.param("a\x9b2Jb", {}, id="a terminal's escape in one byte"),
    pytest.param("a\ud800b", {}, id="half a character"),
    pytest.param("a", {"size": -1}, id="a negative size"),
    pytest.param("a", {"size": "10"}, id="a size that is text"),
    pytest.param("a", {"size": 1.5}, id="half a byte"),
    pytest.param("a", {"size": None}, id="no size"),
    pytest.param("a", {"size": True}, id="a size that is true"),
    pytest.param("a", {"lfs_sha256": "a" * 63}, id="a short digest"),
    pytest.param("a", {"lfs_sha256": "A" * 64}, id="a digest in capitals"),
    pytest.param("a", {"lfs_sha256": "../" * 20 + "aaaa"}, id="a digest that is a path"),
    pytest.param("a", {"lfs_sha256": "a" * 64 + "\n"}, id="a digest and a line break"),
    pytest.param("a", {"lfs_sha256": 5}, id="a digest that is a number"),
    pytest.param("a", {"lfs_sha256": None, "blob_id": "b" * 39}, id="a short blob id"),
    pytest.param("a", {"lfs_sha256": None, "blob_id": None}, id="no digest"),
    pytest.param("a", {"xet_hash": "d" * 63}, id="a short Xet hash"),
    pytest.param("a", {"xet_hash": "../x"}, id="a Xet hash that is a path"),
    pytest.param("a", {"xet_hash": 5}, id="a Xet hash that is a number"),
]


@pytest.mark.parametrize(("path", "wrong"), UNSAFE)
def test_what_cannot_be_stored_safely_is_refused(tmp_path: Path, path: str, wrong: dict[str, Any]) -> None:
    store = tree(tmp_path, {"fine": GOOD, path: GOOD | wrong})
    with pytest.raises(Problem) as caught:
        snapshot.cached(settings_of(tmp_path), store)
    assert caught.value.id == "unsafe-listing"
    assert caught.value.exit_code == ExitCode.CORRUPT
    assert "".join(caught.value.lines()).isprintable()


@pytest.mark.parametrize(
    "path", ["a b", "a/b.c", ".gitattributes", "ä/日本.txt", "…", "-rf", "ab:c", "con.txt", "a..b", "[x]*?"]
)
def test_unusual_names_are_names(tmp_path: Path, path: str) -> None:
    known = snapshot.cached(settings_of(tmp_path), tree(tmp_path, {path: GOOD}))
    assert known is not None
    assert [file.path for file in known.files] == [path]


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
