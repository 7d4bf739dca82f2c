"""A made-up repo of 1 TB in 2,000 shards, without its bytes: do plan, status and scheduling stay linear?

The cache is real (listing, pointers, sparse files), the source is not: windows end at once, and nothing is written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from unittest.mock import patch

from bench.process import run
from qwen_fetch.base.settings import Settings
from qwen_fetch.cache.store import Store
from qwen_fetch.listing.cached import cached
from qwen_fetch.routines.report import make_report
from qwen_fetch.transfer import schedule
from qwen_fetch.transfer.job import State
from qwen_fetch.transfer.plan import make_plan
from qwen_fetch.transfer.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.transfer.job import Job
    from qwen_fetch.transfer.plan import Step

__all__ = ["BIG", "COUNTS", "Growth", "cells", "growth_table", "measure_big"]

T = TypeVar("T")

BIG = "big"
COUNTS = (100, 500, 2000)
_SHARD = 500_000_000  # bytes
_WINDOW = 32 << 20  # bytes a worker of a fast line asks for
_WORKERS = 4
_REPO = "made-up/one-terabyte"
_COMMIT = "0123456789" * 4


@dataclass(frozen=True, slots=True)
class Growth:
    """What a repo of `shards` files costs, in seconds; peak memory in bytes."""

    shards: int
    plan: float
    status: float
    status_command: float
    status_peak_bytes: int
    schedule: float
    windows: int
    progress: float


def measure_big(work: Path, tool: list[str], counts: tuple[int, ...] = COUNTS) -> list[Growth]:
    """Measure for several numbers of shards.

    Args:
        work: Where the caches are made, and removed again.
        tool: The command line of qwen-fetch.
        counts: How many shards of 500 MB.
    """
    return [_measure(work / "big", tool, count) for count in counts]


def cells(rows: Sequence[Growth]) -> list[tuple[str, ...]]:
    """A head and the figures, with the time per shard beside each: linear is where that stays the same."""
    head = ("shards", "plan", "status", "--status-only", "all windows", "a progress")
    return [
        head,
        *(
            (
                str(row.shards),
                _each(row.plan, row),
                _each(row.status, row),
                f"{row.status_command:.2f} s, {row.status_peak_bytes / 1e6:.0f} MB",
                f"{row.schedule:.2f} s, {row.schedule / row.windows * 1e6:.0f} µs each",
                f"{row.progress * 1e6:.0f} µs",
            )
            for row in rows
        ),
    ]


def growth_table(rows: Sequence[Growth]) -> str:
    """The figures for people."""
    return "\n".join("".join(f"{cell:>24}" for cell in line) for line in cells(rows))


def _each(seconds: float, row: Growth) -> str:
    return f"{seconds * 1e3:.0f} ms, {seconds / row.shards * 1e6:.0f} µs each"


def _measure(folder: Path, tool: list[str], count: int) -> Growth:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        settings = Settings(repo_id=_REPO, cache_dir=folder, endpoint="http://127.0.0.1:9")
        store = Store(settings.hub_cache, _REPO)
        _make_cache(store, count)
        known = cached(settings, store)
        assert known is not None  # noqa: S101 - it was just made
        plan, plan_seconds = _timed(lambda: make_plan(known.files, store.survey(known.commit, known.files)))
        _, status_seconds = _timed(lambda: make_report(settings, store, known, known.files))
        arguments = [
            "--repo-id",
            _REPO,
            "--cache-dir",
            str(folder),
            "--status-only",
            "--endpoint",
            "http://127.0.0.1:9",
        ]
        usage = run([*tool, *arguments], {"PATH": "/usr/bin:/bin"}, folder / "status.txt")
        steps = [step for step in plan.steps if not step.complete]
        windows, schedule_seconds, progress_seconds = _schedule(store, steps)
        return Growth(
            count,
            plan_seconds,
            status_seconds,
            usage.seconds,
            usage.peak_bytes,
            schedule_seconds,
            windows,
            progress_seconds,
        )
    finally:
        shutil.rmtree(folder)


def _make_cache(store: Store, count: int) -> None:
    """A download that was broken off: a quarter complete, a quarter begun, half not here. Files are sparse."""
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in names]
    pointers = store.snapshot(_COMMIT)
    for folder in (store.blobs, pointers, store.repo / "refs", store.repo / "trees", store.locks):
        folder.mkdir(parents=True)
    (store.repo / "refs" / "main").write_text(_COMMIT, encoding="utf-8")
    files = {
        name: {"size": _SHARD, "blob_id": digest[:40], "lfs_sha256": digest, "xet_hash": digest}
        for name, digest in zip(names, digests, strict=True)
    }
    tree = {"format_version": 1, "commit": _COMMIT, "files": files}
    (store.repo / "trees" / f"{_COMMIT}.json").write_text(json.dumps(tree), encoding="utf-8")
    for number, (name, digest) in enumerate(zip(names, digests, strict=True)):
        if number % 4 == 0:
            _sparse(store.blobs / digest, _SHARD)
            (pointers / name).symlink_to(f"../../blobs/{digest}")
        elif number % 4 == 1:
            _sparse(store.blobs / f"{digest}.incomplete", _SHARD // 2)


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    result = call()
    return result, time.perf_counter() - began


class _CountedPartial:
    """A partial that counts bytes instead of keeping them."""

    def __init__(self, path: Path, file: RepoFile, *, keep: bool = True) -> None:
        self.path, self.file, self.committed = path, file, _SHARD // 2 if keep and path.exists() else 0

    @property
    def hashed(self) -> int:
        return self.committed

    def append(self, piece: memoryview | bytes | bytearray) -> None:
        self.committed += len(piece)

    def close(self) -> None:
        pass


def _schedule(store: Store, steps: list[Step]) -> tuple[int, float, float]:
    """Hand out all windows of all files to workers whose line is infinitely fast.

    Returns:
        How many windows, the seconds that took, and the seconds one look at the progress took at its half.
    """
    zeros = memoryview(bytes(_WINDOW))
    progress: list[float] = []
    count = 0
    lock = threading.Lock()

    def checked(job: Job) -> None:
        if job.state is State.CHECKING:
            work.verified(job)

    def worker() -> None:
        nonlocal count
        while (window := work.next(lambda _: _WINDOW)) is not None:
            window.accept(zeros[: window.end - window.position])
            work.finished(window)
            with lock:
                count += 1
                half = count == len(steps) * 6
            if half:
                progress.append(_timed(lambda: work.bytes_on_disk)[1])

    with patch.object(schedule, "Partial", _CountedPartial):
        work = Schedule(store, "0" * 40, steps, 4, checked)
        threads = [threading.Thread(target=worker) for _ in range(_WORKERS)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
    return count, seconds, progress[0] if progress else 0.0
