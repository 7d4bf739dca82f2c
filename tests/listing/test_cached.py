"""The listing kept on this disk: as the Hub client keeps it, with who said it beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import huggingface_hub
import pytest
from huggingface_hub import _tree_cache
from huggingface_hub.file_download import _cache_commit_hash_for_specific_revision

from qwen_fetch.base.files import RepoFile, Snapshot
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.settings import Settings
from qwen_fetch.cache.store import Store
from qwen_fetch.listing import snapshot
from qwen_fetch.listing.cached import cached, record, record_ref, who_said
from qwen_fetch.listing.hub import Hub
from qwen_fetch.localhub.hub import LocalHub

if TYPE_CHECKING:
    from pathlib import Path

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
    offline = cached(settings, store)
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
    assert cached(settings_of(tmp_path), store) is None
    for revision in ("refs/pr/1", COMMIT):
        known = cached(settings_of(tmp_path, revision=revision), store)
        assert known is not None
        assert known.files == (RepoFile("a", 10, Digest("sha256", "a" * 64), "d" * 64, "b" * 40),)


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
        json.dumps({"format_version": 1, "files": {"../x": GOOD}}),
        json.dumps({"format_version": 1, "files": {"a": GOOD | {"lfs_sha256": "../x"}}}),
        "[" * 100_000,
    ],
)
def test_a_damaged_tree_is_unknown(tmp_path: Path, text: str) -> None:
    store = tree(tmp_path, {})
    (store.repo / "trees" / f"{COMMIT}.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert cached(settings_of(tmp_path), store) is None


@pytest.mark.parametrize("text", [b"", b"main", b"../../x", b"C" * 40, b"c" * 39, b"\xff\xfe"])
def test_a_damaged_ref_is_unknown(tmp_path: Path, text: bytes) -> None:
    store = tree(tmp_path, {"a": GOOD})
    (store.repo / "refs" / "main").write_bytes(text)
    assert cached(settings_of(tmp_path), store) is None


SAID = Snapshot(
    "Qwen/Qwen-Image-Edit",
    "main",
    COMMIT,
    (
        RepoFile("a/config.json", 2, Digest("git-sha1", "e" * 40), None, "e" * 40),
        RepoFile("b.safetensors", 10, Digest("sha256", "a" * 64), "d" * 64, "b" * 40),
        RepoFile("c.bin", 11, Digest("sha256", "f" * 64), None, "b" * 40),
    ),
)


def test_it_is_written_as_the_hub_client_writes_it(tmp_path: Path) -> None:
    # Byte for byte: when the client's format moves, this fails.
    ours, theirs = Store(tmp_path / "ours", SAID.repo_id), Store(tmp_path / "theirs", SAID.repo_id)
    record(ours, SAID, "https://x.example")
    record_ref(ours, "refs/pr/1", COMMIT)
    entries = {
        file.path: _tree_cache.TreeCacheEntry(
            file.size,
            file.blob_id,
            file.digest.hex if file.is_large else None,
            file.size if file.is_large else None,
            file.xet_hash,
        )
        for file in SAID.files
    }
    _tree_cache.write_tree_cache(str(theirs.repo), COMMIT, entries)
    _cache_commit_hash_for_specific_revision(str(theirs.repo), "refs/pr/1", COMMIT)
    for name in (f"trees/{COMMIT}.json", "refs/refs/pr/1"):
        assert (ours.repo / name).read_bytes() == (theirs.repo / name).read_bytes()
    assert {path.name for path in ours.repo.iterdir()} == {"trees", "refs", ".qwen-fetch"}
    assert cached(settings_of(tmp_path / "x", revision=COMMIT), ours) is not None


def test_who_said_it_holds_as_long_as_the_tree_is_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path / "hub", SAID.repo_id)
    assert who_said(store, COMMIT) is None
    record(store, SAID, "https://x.example")
    said = who_said(store, COMMIT)
    assert said is not None
    assert said.endpoint == "https://x.example"
    tree_file = store.repo / "trees" / f"{COMMIT}.json"
    text = tree_file.read_text()
    tree_file.write_text(text.replace("a" * 64, "9" * 64))
    assert who_said(store, COMMIT) is None
    tree_file.write_text(text)
    for damaged in ("", "[]", '{"format": 1, "said": []}', json.dumps({"format": 1, "said": {COMMIT: 5}})):
        (store.own / "listings.json").write_text(damaged)
        assert who_said(store, COMMIT) is None
