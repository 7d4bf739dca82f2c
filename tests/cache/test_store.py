"""The cache on disk: where things lie, what is there, what is left over."""

import os
from pathlib import Path

import pytest

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.cache.store import Leftover, OnDisk, Store

COMMIT = "c" * 40
SHARD = RepoFile("vae/shard.safetensors", 100, Digest("sha256", "a" * 64))
CONFIG = RepoFile("config.json", 10, Digest("git-sha1", "b" * 40))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "hub", "Qwen/Qwen-Image-Edit")


def put(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def link(store: Store, file: RepoFile) -> Path:
    pointer = store.pointer(COMMIT, file)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.symlink_to(os.path.relpath(store.blob(file), pointer.parent))
    return pointer


def test_the_layout_is_the_hub_clients(store: Store, tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--Qwen--Qwen-Image-Edit"
    assert store.repo == repo
    assert store.blob(SHARD) == repo / "blobs" / ("a" * 64)
    assert store.partial(SHARD) == repo / "blobs" / ("a" * 64 + ".incomplete")
    assert store.pointer(COMMIT, SHARD) == repo / "snapshots" / COMMIT / "vae" / "shard.safetensors"
    assert store.locks == tmp_path / "hub" / ".locks" / "models--Qwen--Qwen-Image-Edit"


def test_looking_at_nothing_makes_nothing(store: Store) -> None:
    assert store.survey(COMMIT, [SHARD, CONFIG]) == {SHARD.path: OnDisk(), CONFIG.path: OnDisk()}
    assert list(store.leftovers()) == []
    assert store.free_bytes > 0
    assert not store.cache_dir.exists()


def test_what_is_there_is_seen(store: Store) -> None:
    put(store.partial(SHARD), 40)
    assert store.look(COMMIT, SHARD) == OnDisk(partial=40)
    put(store.blob(SHARD), 100)
    assert store.look(COMMIT, SHARD) == OnDisk(blob=100, partial=40)
    link(store, SHARD)
    assert store.look(COMMIT, SHARD) == OnDisk(blob=100, partial=40, linked=True)
    put(store.blob(SHARD), 99)
    assert store.look(COMMIT, SHARD) == OnDisk(blob=99, partial=40, linked=False)


def test_a_pointer_to_nothing_is_nothing(store: Store) -> None:
    link(store, SHARD)
    assert store.look(COMMIT, SHARD) == OnDisk()


def test_a_pointer_in_a_circle_is_nothing(store: Store) -> None:
    pointer = store.pointer(COMMIT, SHARD)
    pointer.parent.mkdir(parents=True)
    pointer.symlink_to(pointer.name)
    assert store.look(COMMIT, SHARD) == OnDisk()


def test_a_folder_in_the_place_of_a_file_is_nothing(store: Store) -> None:
    store.blob(SHARD).mkdir(parents=True)
    store.pointer(COMMIT, SHARD).mkdir(parents=True)
    assert store.look(COMMIT, SHARD) == OnDisk()


def test_where_the_pointer_is_the_file(store: Store) -> None:
    put(store.pointer(COMMIT, SHARD), 100)
    assert store.look(COMMIT, SHARD) == OnDisk(blob=100, linked=True)


def test_small_files_grow_as_large_ones_do(store: Store) -> None:
    put(store.partial(CONFIG), 5)
    assert store.look(COMMIT, CONFIG) == OnDisk(partial=5)


def test_leftovers_by_kind(store: Store) -> None:
    put(store.blob(SHARD), 100)
    partial = put(store.partial(SHARD), 40)
    orphan = put(store.blobs / f"{'a' * 64}.0123abcd.incomplete", 30)
    small_orphan = put(store.blobs / f"{'b' * 40}.0123abcd.incomplete", 3)
    odd = put(store.blobs / f"{'b' * 64}.0123ABCD.incomplete", 20)
    lock = put(store.locks / f"{'a' * 64}.lock", 0)
    note = put(store.locks / f"{'a' * 64}.holder", 12)
    link(store, SHARD)
    (store.blobs / "folder.incomplete").mkdir()
    assert set(store.leftovers()) == {
        Leftover(partial, 40, "partial"),
        Leftover(orphan, 30, "orphan"),
        Leftover(small_orphan, 3, "orphan"),
        Leftover(odd, 20, "orphan"),
        Leftover(lock, 0, "lock"),
        Leftover(note, 12, "lock"),
    }


def test_another_repos_leftovers_are_not_ours(store: Store) -> None:
    other = Store(store.cache_dir, "Qwen/Qwen-Image")
    put(other.partial(SHARD), 40)
    put(other.locks / "x.lock", 0)
    assert list(store.leftovers()) == []


def test_a_verified_partial_gets_its_final_name(store: Store) -> None:
    assert store.symlinks_work
    put(store.partial(SHARD), 100)
    store.install(COMMIT, SHARD)
    assert store.look(COMMIT, SHARD) == OnDisk(blob=100, linked=True)
    # As the Hub client would: relative, so that the cache can be moved.
    assert store.pointer(COMMIT, SHARD).readlink() == Path("../../../blobs") / SHARD.digest.hex
    assert sorted(path.name for path in store.repo.iterdir()) == ["blobs", "snapshots"]


def test_what_stands_in_a_pointers_place_is_set_aside(store: Store) -> None:
    put(store.pointer(COMMIT, SHARD), 7)
    put(store.partial(SHARD), 100)
    store.install(COMMIT, SHARD)
    assert store.blob_size(SHARD) == 100
    assert store.pointer(COMMIT, SHARD).samefile(store.blob(SHARD))
    assert [leftover.bytes for leftover in store.leftovers()] == [7]


@pytest.mark.parametrize("size", [100, 7], ids=["whole", "of another size"])
def test_what_programs_load_counts_and_not_the_blob_beside_it(store: Store, size: int) -> None:
    put(store.pointer(COMMIT, SHARD), size)
    put(store.blob(SHARD), 100)
    assert store.look(COMMIT, SHARD) == OnDisk(blob=100, linked=size == 100)
    assert store.place(COMMIT, SHARD) == (store.pointer if size == 100 else lambda _, file: store.blob(file))(
        COMMIT, SHARD
    )


@pytest.mark.parametrize("forbidden", [True, False], ids=["forbidden", "impossible"])
def test_without_symlinks_it_goes_where_programs_look_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, forbidden: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("A required privilege is not held by the client")

    if forbidden:
        monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
    else:
        monkeypatch.setattr(Path, "symlink_to", refuse)
    put(store.partial(SHARD), 100)
    store.install(COMMIT, SHARD)
    assert store.look(COMMIT, SHARD) == OnDisk(blob=100, linked=True)
    assert not store.blob(SHARD).exists()
    assert not store.pointer(COMMIT, SHARD).is_symlink()
    assert list(store.leftovers()) == []


def test_installing_replaces_what_was_wrong(store: Store) -> None:
    put(store.blob(SHARD), 7)
    put(store.partial(SHARD), 100)
    store.install(COMMIT, SHARD)
    assert store.blob_size(SHARD) == 100


def test_what_was_shown_wrong_is_removed_with_its_pointer(store: Store) -> None:
    put(store.blob(SHARD), 100)
    pointer = link(store, SHARD)
    store.discard(COMMIT, SHARD)
    assert not pointer.is_symlink()
    assert not store.blob(SHARD).exists()
    store.discard(COMMIT, SHARD)
