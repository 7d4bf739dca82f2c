"""The locks: one writer per blob, whoever that is, and who it is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.cache.locks import BlobLock, holder
from qwen_fetch.cache.store import Store

FILE = RepoFile("shard", 100, Digest("sha256", "a" * 64))
HOLD = """
import sys, time, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "hub", "a/b")


def lock_path(store: Store) -> Path:
    return store.locks / f"{FILE.digest.hex}.lock"


@pytest.fixture
def foreigner(store: Store) -> Iterator[subprocess.Popen[str]]:
    """Another program that holds the lock."""
    store.locks.mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock_path(store))], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_two_locks_of_one_blob_exclude_each_other(store: Store) -> None:
    first, second = BlobLock(store, FILE), BlobLock(store, FILE)
    assert first.take()
    assert not second.take()
    assert not second.take()
    first.release()
    assert second.take()
    assert not first.take()
    second.release()
    second.release()  # twice does no harm
    assert first.take()
    first.release()


def test_other_blobs_are_free(store: Store) -> None:
    first = BlobLock(store, FILE)
    other = BlobLock(store, RepoFile("other", 100, Digest("sha256", "b" * 64)))
    assert first.take()
    assert other.take()
    first.release()
    other.release()


def test_the_hub_client_respects_it(store: Store) -> None:
    lock = BlobLock(store, FILE)
    assert lock.take()
    theirs = filelock.FileLock(lock_path(store))
    with pytest.raises(filelock.Timeout):
        theirs.acquire(blocking=False)
    lock.release()
    theirs.acquire(blocking=False)
    assert not lock.take()
    theirs.release()


def test_the_holder_is_named_when_it_is_one_of_us(store: Store) -> None:
    lock = BlobLock(store, FILE)
    assert lock.take()
    assert holder(store, FILE).startswith(f"another qwen-fetch (process {os.getpid()} on this machine, since ")
    lock.release()
    assert holder(store, FILE) == "another program"
    assert not list(store.locks.glob("*.holder"))


def test_the_holder_is_named_when_it_is_another_program(store: Store, foreigner: subprocess.Popen[str]) -> None:
    assert not BlobLock(store, FILE).take()
    expected = "another program"
    if sys.platform == "linux":
        expected += f" (process {foreigner.pid} on this machine)"
    assert holder(store, FILE) == expected


def test_a_lock_dies_with_its_process(store: Store, foreigner: subprocess.Popen[str]) -> None:
    foreigner.kill()
    foreigner.wait()
    lock = BlobLock(store, FILE)
    assert lock.take()
    lock.release()


@pytest.mark.parametrize(
    "note",
    ["", "{", "[]", "null", '{"pid": "x", "host": "h", "since": 1}', '{"pid": 1, "host": "h", "since": 1e400}'],
)
def test_a_damaged_note_names_nobody(store: Store, note: str) -> None:
    store.locks.mkdir(parents=True)
    lock_path(store).with_suffix(".holder").write_text(note)
    assert holder(store, FILE) == "another program"


def test_a_note_cannot_write_to_the_terminal(store: Store) -> None:
    store.locks.mkdir(parents=True)
    lock_path(store).with_suffix(".holder").write_text('{"pid": 1, "host": "\\u001b[2J\\u009b", "since": 1}')
    assert holder(store, FILE).isprintable()


def test_a_note_that_cannot_be_removed_does_not_keep_the_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # On Windows a file cannot be removed while somebody, asking who holds the lock, reads it.
    lock = BlobLock(store, FILE)
    assert lock.take()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        lock.release()
    other = BlobLock(store, FILE)
    assert other.take()
    other.release()


def test_a_file_system_without_locks_gets_the_soft_kind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoFlock(filelock.FileLock):
        def _acquire(self) -> None:
            raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("qwen_fetch.cache.locks.FileLock", NoFlock)
    first, second = BlobLock(store, FILE), BlobLock(store, FILE)
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()
