"""What was read is remembered as long as nobody has touched it: over a new mount, and not by inodes."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.cache import memory as memories
from qwen_fetch.cache.disk import Identity, identity
from qwen_fetch.cache.memory import Memory, survey
from qwen_fetch.cache.store import OnDisk, Store

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "a" * 40, "b" * 40
DATA = b"weights" * 1000
FILE = RepoFile("vae/shard.bin", len(DATA), Digest("sha256", hashlib.sha256(DATA).hexdigest()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "hub", "O/N")
    pointer = store.pointer(OLD, FILE)
    pointer.parent.mkdir(parents=True)
    pointer.write_bytes(DATA)
    os.utime(pointer, ns=(10**18, 10**18))
    return store


def remembered(store: Store) -> Memory:
    memory = Memory(store)
    memory.digest(store.pointer(OLD, FILE), FILE)
    memory.save()
    return Memory(store)


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        pytest.param(lambda was: was, True, id="untouched"),
        pytest.param(lambda was: was._replace(ctime_ns=was.mtime_ns), True, id="a mount of FAT, which forgets ctime"),
        pytest.param(lambda was: was._replace(ctime_ns=was.ctime_ns + 1), False, id="touched, and mtime put back"),
        pytest.param(lambda was: was._replace(mtime_ns=was.mtime_ns + 1), False, id="another mtime"),
        pytest.param(
            lambda was: was._replace(mtime_ns=was.ctime_ns + 5, ctime_ns=was.ctime_ns + 5), False, id="written to"
        ),
        pytest.param(lambda was: was._replace(size=was.size + 1), False, id="another size"),
    ],
)
def test_what_a_remembered_digest_is_tied_to(
    store: Store, monkeypatch: pytest.MonkeyPatch, change: object, holds: bool
) -> None:
    memory = remembered(store)
    assert callable(change)
    later = change(identity(store.pointer(OLD, FILE)))
    monkeypatch.setattr(memories, "identity", lambda _: Identity(*later))
    assert (memory.recall(store.pointer(OLD, FILE)) is not None) == holds


def test_a_copy_with_the_same_times_is_another_file(store: Store) -> None:
    """Its ctime is the moment of the copy, which nobody can set."""
    memory, pointer = remembered(store), store.pointer(OLD, FILE)
    copy = pointer.with_name("copy")
    copy.write_bytes(DATA[:-1] + b"!")
    os.utime(copy, ns=(10**18, 10**18))
    copy.replace(pointer)
    assert memory.recall(pointer) is None


def test_bytes_in_the_snapshot_of_another_commit_are_here(store: Store) -> None:
    memory = remembered(store)
    assert memory.standing(FILE) == store.pointer(OLD, FILE)
    assert survey(store, memory, NEW, [FILE]) == {FILE.path: OnDisk(blob=FILE.size, linked=False)}
    store.pointer(OLD, FILE).write_bytes(DATA[:-1])
    assert survey(store, Memory(store), NEW, [FILE]) == {FILE.path: OnDisk()}


def test_a_record_that_names_a_place_elsewhere_is_not_followed(store: Store, tmp_path: Path) -> None:
    remembered(store)
    outside = tmp_path / "outside"
    outside.write_bytes(DATA)
    record = store.own / "digests.json"
    text = record.read_text()
    for key in (str(outside), "../../outside", "snapshots/../../../outside"):
        known = json.loads(text)
        (read,) = known["files"].values()
        read[:3] = identity(outside)
        known["files"] = {key: read}
        record.write_text(json.dumps(known))
        assert Memory(store).standing(FILE) is None
