"""Scenes without a transfer: a second run with nothing to do, a copy to take over, verify, status, help."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.peers import OURS, TOOL, Job
from bench.process import run
from bench.results import Result
from bench.serving import REPO_ID, fast
from bench.trial import clean_room, left_behind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bench.peers import Peer
    from bench.process import Usage
    from bench.serving import Served, Server
    from bench.trial import Repo

__all__ = ["UPKEEP", "Upkeep"]

_LIMIT = 600.0  # seconds


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Something done with a repo that is here already.

    Attributes:
        name: For `--scene`.
        title: For people.
        measure: Yields the results of one round.
    """

    name: str
    title: str
    measure: Callable[[Sequence[Peer], Repo, Path], Iterator[Result]]


def _nothing_to_do(peers: Sequence[Peer], repo: Repo, work: Path) -> Iterator[Result]:
    """Every peer twice; what is measured is the second run."""
    for peer in peers:
        with clean_room(work) as room:
            with fast(repo.folder, room / "server") as server, _front(peer, server, repo) as endpoint:
                job = Job(endpoint, room, list(repo.digests))
                job.target.mkdir()
                run(peer.command(job), peer.variables(job), room / "first.txt", _LIMIT)
            with fast(repo.folder, room / "again") as server, _front(peer, server, repo) as endpoint:
                job = Job(endpoint, room, list(repo.digests))
                usage = run(peer.command(job), peer.variables(job), room / "log.txt", _LIMIT)
                served = server.stop()
            yield _result("nothing-to-do", peer, job, repo, usage, served)


def _adopt(peers: Sequence[Peer], repo: Repo, work: Path) -> Iterator[Result]:
    """A plain copy of the repo lies on the same disk. Who cannot take it over fetches everything; `cp` is the floor."""
    for peer in (peer for peer in peers if peer.name.startswith((OURS, "hf 2"))):
        with clean_room(work) as room, fast(repo.folder, room / "server") as server:
            job = Job(server.endpoint, room, list(repo.digests))
            job.target.mkdir()
            shutil.copytree(repo.folder, room / "copy")
            options = ["--adopt", str(room / "copy")] if peer.name == OURS else []
            usage = run([*peer.command(job), *options], peer.variables(job), room / "log.txt", _LIMIT)
            yield _result("adopt", peer, job, repo, usage, server.stop())
    with clean_room(work) as room:
        usage = run(["cp", "-r", str(repo.folder), str(room / "copy")], os.environ, room / "log.txt", _LIMIT)
        yield Result("adopt", "cp -r", usage.seconds, usage.cpu_seconds, usage.peak_bytes, code=usage.code)


def _result(scene: str, peer: Peer, job: Job, repo: Repo, usage: Usage, served: Served) -> Result:
    left = left_behind(peer, job, repo)
    return Result(
        scene,
        peer.name,
        usage.seconds,
        usage.cpu_seconds,
        usage.peak_bytes,
        served_bytes=served.weight_bytes,
        twice_bytes=served.weight_bytes,
        requests=served.requests,
        server_cpu_seconds=served.cpu_seconds,
        code=usage.code,
        finished=not usage.stopped,
        right=repo.is_right(peer.tree(job)),
        left_files=len(left),
        left_bytes=sum(path.lstat().st_size for path in left),
    )


def _verify(peers: Sequence[Peer], repo: Repo, work: Path) -> Iterator[Result]:
    """Read everything and compare it: ours, the Hub client's own, and sha256sum on all cores."""
    ours, hf = _named(peers, OURS), _named(peers, "hf 2")
    if ours is None:
        return
    with clean_room(work) as room, fast(repo.folder, room / "server") as server:
        job = Job(server.endpoint, room, list(repo.digests))
        job.target.mkdir()
        run(ours.command(job), ours.variables(job), room / "first.txt", _LIMIT)
        names = job.list_of([str(ours.tree(job) / path) for path in repo.digests])
        commands = [
            (OURS, [*ours.command(job), "--verify", "--force"]),  # else it trusts what it read while fetching
            (f"sha256sum x{os.cpu_count()}", ["xargs", "-a", names, "-n1", f"-P{os.cpu_count()}", "sha256sum"]),
        ]
        if hf:
            verify = ["cache", "verify", REPO_ID, "--cache-dir", str(job.target)]
            commands.append((hf.name, [hf.command(job)[0], *verify]))
        for name, command in commands:
            usage = run(command, ours.variables(job), room / "log.txt", _LIMIT)
            yield Result("verify", name, usage.seconds, usage.cpu_seconds, usage.peak_bytes, code=usage.code)


def _status(peers: Sequence[Peer], repo: Repo, work: Path) -> Iterator[Result]:
    """How long the small answers take. The disk is warm, as it is for whoever asks twice."""
    ours, hf = _named(peers, OURS), _named(peers, "hf 2")
    if ours is None:
        return
    with clean_room(work) as room, fast(repo.folder, room / "server") as server:
        job = Job(server.endpoint, room, list(repo.digests))
        job.target.mkdir()
        run(ours.command(job), ours.variables(job), room / "first.txt", _LIMIT)
        commands = [
            ("--status-only", [*ours.command(job), "--status-only"]),
            ("--help", [sys.executable, str(TOOL), "--help"]),
        ]
        if hf:
            program = hf.command(job)[0]
            commands.append(("hf cache ls", [program, "cache", "ls", "--cache-dir", str(job.target)]))
            commands.append(("hf --help", [program, "--help"]))
        for name, command in commands:
            usage = run(command, ours.variables(job), room / "log.txt", _LIMIT)
            yield Result("status", name, usage.seconds, usage.cpu_seconds, usage.peak_bytes, code=usage.code)


def _front(peer: Peer, server: Server, repo: Repo) -> AbstractContextManager[str]:
    return peer.front(server.endpoint, repo.folder, repo.digests)


def _named(peers: Sequence[Peer], start: str) -> Peer | None:
    return next((peer for peer in peers if peer.name.startswith(start)), None)


UPKEEP = (
    Upkeep("nothing-to-do", "a second run with nothing to do", _nothing_to_do),
    Upkeep("adopt", "a copy of the repo on the same disk, to take over", _adopt),
    Upkeep("verify", "every byte read and compared", _verify),
    Upkeep("status", "the small answers", _status),
)
