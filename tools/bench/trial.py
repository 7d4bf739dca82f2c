"""One peer in one scene: serve, run, kill and start again if the scene says so, check, count."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bench.line import laid
from bench.peers import Job
from bench.process import Child, Usage
from bench.results import Result
from bench.serving import embedded, fast, fast_xet
from qwen_fetch.localhub.digests import sha256_of_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.line import Ends
    from bench.peers import Peer
    from bench.scenes import Scene
    from bench.serving import Server

__all__ = ["Repo", "clean_room", "left_behind", "run_trial"]

_WARMED = 8_000_000_000  # bytes: more than any scene but the largest, which no memory could hold
_RESTART_PAUSE = 0.2  # seconds between a kill and the next start, as a supervisor would need


@dataclass(frozen=True)
class Repo:
    """The made-up repo that everybody fetches.

    Attributes:
        folder: Where it is.
        digests: The sha256 of every file, by its path in the repo.
    """

    folder: Path
    digests: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> Repo:
        """Hash what is in `folder`. It is remembered beside it, and no Hub that serves it has to hash it again."""
        paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return cls(folder, sha256_of_all(folder, paths))

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of the files that travel from the data host."""
        large = self.folder.rglob("*.safetensors")
        return sum(path.stat().st_size for path in [*large, self.folder / "processor/tokenizer.json"])

    def is_right(self, tree: Path) -> bool:
        """Whether a folder holds every file with the right bytes."""
        files = [tree / path for path in self.digests]
        return all(file.is_file() for file in files) and _sha256(files) == list(self.digests.values())


def run_trial(scene: Scene, peer: Peer, repo: Repo, work: Path) -> Result:
    """Measure one run. Everything is written below `work`, and removed."""
    with clean_room(work) as room, laid(scene.far, room) if scene.far else nullcontext() as ends:
        with (
            _server(scene, repo, room / "server", ends) as server,
            peer.front(server.endpoint, repo.folder, repo.digests) as endpoint,
        ):
            job = Job(endpoint, room, list(repo.digests), scene.splits)
            job.target.mkdir()
            ideal = repo.weight_bytes / scene.line if scene.line else None
            limit = scene.times_ideal * (ideal or 1)
            _warm_memory(room / "scratch", min(repo.weight_bytes, _WARMED))
            start = _start(peer, job, ends)
            usages, finished = _until_done(start, scene.kill_every, limit, lambda: repo.is_right(peer.tree(job)))
            served = server.stop()
        left = left_behind(peer, job, repo)
        return Result(
            scene.name,
            peer.name,
            seconds=_spent(usages),
            cpu_seconds=sum(usage.cpu_seconds for usage in usages),
            peak_bytes=max(usage.peak_bytes for usage in usages),
            served_bytes=served.weight_bytes,
            twice_bytes=max(0, served.weight_bytes - repo.weight_bytes),
            requests=served.requests,
            server_cpu_seconds=served.cpu_seconds,
            starts=len(usages),
            code=usages[-1].code,
            finished=finished,
            right=repo.is_right(peer.tree(job)),
            left_files=len(left),
            left_bytes=sum(path.lstat().st_size for path in left),
            ideal_seconds=ideal,
        )


def _server(scene: Scene, repo: Repo, work: Path, ends: Ends | None) -> Server:
    if scene.server is None:
        return fast_xet(repo.folder, work) if scene.only_xet else fast(repo.folder, work)
    if ends is None:
        return embedded(repo.folder, work, scene.server)
    return embedded(repo.folder, work, (*scene.server, "--address", ends.address), ends.far)


def _start(peer: Peer, job: Job, ends: Ends | None) -> Callable[[], Child]:
    command = [*(ends.near if ends else ()), *peer.command(job)]
    return lambda: Child(command, peer.variables(job), job.folder / "log.txt")


def _until_done(
    start: Callable[[], Child], kill_every: float | None, limit: float, is_right: Callable[[], bool]
) -> tuple[list[Usage], bool]:
    """Run a peer once, or again and again when it is killed; returns what each run cost, and whether it got there."""
    usages: list[Usage] = []
    while True:
        left = limit - _spent(usages)
        usage = start().wait(min(kill_every or left, left))
        usages.append(usage)
        if not usage.stopped and (not usage.code or not kill_every or is_right()):
            return usages, True
        if limit - _spent(usages) <= _RESTART_PAUSE:
            return usages, False
        time.sleep(_RESTART_PAUSE)


def _spent(usages: list[Usage]) -> float:
    """Seconds of all runs and the pauses between them; looking whether the files are right is nobody's time."""
    return sum(usage.seconds for usage in usages) + _RESTART_PAUSE * max(0, len(usages) - 1)


def left_behind(peer: Peer, job: Job, repo: Repo) -> list[Path]:
    """Files that belong to no file of the repo: partials, orphans, control files; not locks, refs and listings."""
    tree = peer.tree(job)
    known = {(tree / path).resolve() for path in repo.digests}
    place = tree.parents[1] / "blobs" if peer.cache else job.target
    return [path for path in place.rglob("*") if path.is_file() and path.resolve() not in known]


@contextmanager
def clean_room(work: Path) -> Iterator[Path]:
    """A folder that is empty at first and gone in the end, with the disk at rest: nobody pays for the one before."""
    folder = work / "room"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if sys.platform != "win32":
        os.sync()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _warm_memory(scratch: Path, size: int) -> None:
    """Have the memory at hand that a download's file cache will take.

    A virtual machine may have given it back to its host, and whoever writes first pays for getting it again: 475 MB/s
    instead of 5,000 were seen.
    """
    piece = bytes(1 << 20)
    with scratch.open("wb", buffering=0) as file:
        for _ in range(-(-size // len(piece))):
            file.write(piece)
    scratch.unlink()


def _sha256(files: list[Path]) -> list[str]:
    def one(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, files))
