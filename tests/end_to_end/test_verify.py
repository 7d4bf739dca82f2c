"""Verify: what is read, what is remembered, and that the record disturbs nobody."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbench import REPO, SHARD, Bench

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.cache.inspection import oddity
from qwen_fetch.cache.memory import Memory
from qwen_fetch.cache.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def flip(path: Path) -> None:
    """Change a byte, and put the time of change back."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte ^ 255]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip_unseen(bench: Bench) -> None:
    """Change a byte in a way that nothing about the file shows: a bad disk."""
    blob, record = bench.blob(SHARD), bench.tool.folder / ".qwen-fetch" / "digests.json"
    before = blob.stat().st_ctime_ns
    flip(blob)
    text = record.read_text()
    assert str(before) in text
    record.write_text(text.replace(str(before), str(blob.stat().st_ctime_ns)))


def test_a_change_with_the_time_put_back_is_noticed(whole: Bench) -> None:
    assert whole.tool.run("--verify").code == 0
    flip(whole.blob(SHARD))
    assert whole.tool.run("--status-only").out.count("verified   38 of 39") == 1
    ended = whole.tool.run("--verify")
    assert ended.code == 9, ended
    assert whole.tool.run("-q").code == 0
    whole.check()


def test_what_was_copied_here_is_read_once_and_then_trusted(whole: Bench) -> None:
    shutil.rmtree(whole.tool.folder / ".qwen-fetch")
    (whole.tool.folder / ".qwen-fetch").mkdir()
    flip(whole.blob(SHARD))
    ended = whole.tool.run()
    assert ended.code == 0, ended
    assert "has not read before" in ended.err
    assert f"{SHARD}: the stored file has the wrong digest" in ended.err
    whole.check()
    assert "has not read before" not in whole.tool.run().err
    assert all(file["verified"] for file in whole.status()["files"])


def test_what_programs_load_is_what_is_read(whole: Bench) -> None:
    pointer = whole.pointer(SHARD)
    pointer.unlink()
    shutil.copy(whole.blob(SHARD), pointer)
    flip(pointer)
    ended = whole.tool.run("--verify")
    assert ended.code == 9, ended
    assert whole.tool.run("-q").code == 0
    whole.check()


def test_an_untouched_file_is_read_once(whole: Bench) -> None:
    first = whole.tool.run("--verify", "--json")
    assert first.code == 0, first
    assert all(file["verified"] for file in first.json["files"])
    flip_unseen(whole)
    again = whole.tool.run("--verify")
    assert again.code == 0, again  # it was not read
    forced = whole.tool.run("--verify", "--force")
    assert forced.code == 9, forced
    assert f"{SHARD}: the stored file has the wrong digest" in forced.out
    # From now on everybody knows, and a plain download mends it.
    assert whole.state(SHARD)[0] == "corrupt"
    assert whole.tool.run("-q").code == 0
    whole.check()


def test_a_download_remembers_what_it_has_verified(empty: Bench) -> None:
    assert empty.tool.run("-q").code == 0
    assert all(file["verified"] for file in empty.status()["files"])
    shown = empty.tool.run("--status-only").out
    assert "verified   all files, on 20" in shown
    assert shown.startswith("Complete.\n")
    flip_unseen(empty)
    assert empty.tool.run("--verify").code == 0


def test_the_record_disturbs_no_hub_client(whole: Bench) -> None:
    assert whole.tool.run("--verify").code == 0
    record = whole.tool.folder / ".qwen-fetch" / "digests.json"
    assert record.is_file()
    whole.check()
    assert whole.scan() == [0, 1, 0]
    assert "Qwen/Qwen-Image-Edit" in whole.tool.hf("cache", "ls").out
    assert whole.tool.hf("cache", "prune", "-y").code == 0
    whole.hub.log.clear()
    assert whole.tool.hf("download", REPO).code == 0
    assert whole.hub.log.weight_bytes() == 0
    assert record.is_file()
    assert whole.tool.hf("cache", "rm", f"model/{REPO}", "-y").code == 0
    assert not whole.tool.folder.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 9}', '{"format": 1, "files": {"x": [1]}}'])
def test_a_damaged_record_costs_only_the_saving(whole: Bench, text: str) -> None:
    store = Store(whole.tool.cache, REPO)
    (store.repo / ".qwen-fetch").mkdir(exist_ok=True)
    (store.repo / ".qwen-fetch" / "digests.json").write_text(text)
    memory = Memory(store)
    file = RepoFile(SHARD, whole.size(SHARD), Digest("sha256", whole.digest(SHARD)))
    assert memory.recall(whole.blob(SHARD)) is None
    assert memory.digest(whole.blob(SHARD), file) == file.digest.hex
    memory.save()
    assert Memory(store).recall(whole.blob(SHARD)) is not None


def test_two_that_remember_at_once_keep_both(tmp_path: Path) -> None:
    store = Store(tmp_path, "O/N")
    store.blobs.mkdir(parents=True)
    first, second = Memory(store), Memory(store)
    for memory, name in ((first, "a"), (second, "b")):
        (store.blobs / name).write_bytes(name.encode())
        memory.add(store.blobs / name, name * 64)
        memory.save()
    assert {Memory(store).recall(store.blobs / name) is not None for name in "ab"} == {True}


@given(before=st.binary(max_size=50), after=st.binary(max_size=50))
def test_whatever_touches_a_file_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, before: bytes, after: bytes
) -> None:
    store = Store(tmp_path_factory.mktemp("memory"), "O/N")
    store.blobs.mkdir(parents=True)
    path = store.blobs / "x"
    path.write_bytes(before)
    os.utime(path, ns=(1, 1))
    memory = Memory(store)
    memory.add(path, "0" * 64)
    assert memory.recall(path) is not None
    path.write_bytes(after)
    assert memory.recall(path) is None


HEADER = b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "its header is cut"),
        (len(HEADER).to_bytes(8, "little") + HEADER[:9], "its header is cut"),
        (len(HEADER).to_bytes(8, "little") + HEADER + b"123", "safetensors file of 65 bytes by its header, and 64"),
        (len(HEADER).to_bytes(8, "little") + HEADER + b"12345", "safetensors file of 65 bytes by its header, and 66"),
        (len(HEADER).to_bytes(8, "little") + HEADER + b"1234", ""),
        (bytes(100), "its header is cut"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"  <!DOCTYPE html><html>", "a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "an error message (XML)"),
        (b'{"error":"Invalid credentials"}', "an error message (JSON)"),
    ],
)
def test_what_a_file_is_instead_of_weights(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    seen = oddity(path, safetensors=True)
    assert words in seen
    assert bool(words) == bool(seen)
