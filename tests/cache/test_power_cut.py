"""A power cut at any moment: what was written since the last flush is missing or reads as zeros; no more is lost."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

import pytest

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.cache import disk
from qwen_fetch.cache.partial import Partial
from qwen_fetch.cache.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMIT = "c" * 40
BLOCK = 4096
DATA = hashlib.shake_256(b"weights").digest(40 * BLOCK).replace(b"\0", b"\1")
FILE = RepoFile("vae/shard.bin", len(DATA), Digest("sha256", hashlib.sha256(DATA).hexdigest()))


def recorded() -> list[tuple[str, int]]:
    """What a download does to its partial: a write of so many bytes, or a flush."""
    log: list[tuple[str, int]] = []
    left, sizes = len(DATA), (700, BLOCK, 3 * BLOCK + 17, 9000)
    while left:
        for size in sizes:
            log.append(("write", min(size, left)))
            left -= log[-1][1]
        log.append(("flush", 0))
    return [entry for entry in log if entry != ("write", 0)]


LOG = recorded()


@pytest.mark.parametrize("reached", range(0, 101, 10), ids=lambda share: f"{share} % of it reached the disk")
def test_every_prefix_of_the_writes(tmp_path: Path, reached: int) -> None:
    for cut in range(len(LOG) + 1):
        for length_reached in (False, True):  # the file system may have stored the length before the bytes
            store = Store(tmp_path / f"{cut}-{length_reached}", "O/N")
            written = sum(size for _, size in LOG[:cut])
            flushed = sum(size for _, size in LOG[: max((n for n in range(cut) if LOG[n][0] == "flush"), default=0)])
            stored = flushed + (written - flushed) * reached // 100
            store.blobs.mkdir(parents=True)
            left = DATA[:stored] + (bytes(written - stored) if length_reached else b"")
            store.partial(FILE).write_bytes(left)

            partial = Partial(store.partial(FILE), FILE)
            assert partial.committed >= flushed, "what was flushed is not fetched again"
            partial.append(DATA[partial.committed :])
            partial.catch_up()
            assert partial.is_right()
            partial.flush()
            partial.close()
            store.install(COMMIT, FILE)
            assert store.blob(FILE).read_bytes() == DATA
            shutil.rmtree(store.cache_dir)


def test_bytes_length_name_and_folder_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, "O/N")
    store.blobs.mkdir(parents=True)
    done: list[str] = []
    partial = Partial(store.partial(FILE), FILE)
    partial.append(DATA)

    def noted(name: str) -> Callable[..., None]:
        act = getattr(disk, name)

        def do(*arguments: object) -> None:
            done.append(name)
            act(*arguments)

        return do

    for name in ("flush", "give_name", "flush_folder"):
        monkeypatch.setattr(disk, name, noted(name))
    partial.flush()
    partial.close()
    store.install(COMMIT, FILE)
    assert done == ["flush", "give_name", "flush_folder"]
