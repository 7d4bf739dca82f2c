"""From what the Hub lists and what the disk holds to one action per file: a pure function.

Status, dry run, repair and download are views of the plan made here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.cache.material import Material
    from qwen_fetch.cache.store import OnDisk

__all__ = ["Action", "Plan", "Step", "decide", "make_plan"]


class Action(StrEnum):
    """What is to be done with one file."""

    KEEP = "keep"  # complete and linked
    LINK = "link"  # complete, only the pointer is missing
    ADOPT = "adopt"  # the file or a prefix of it lies elsewhere on this machine
    RESUME = "resume"  # a prefix is here
    FETCH = "fetch"  # nothing is here
    REFETCH = "refetch"  # something is here, but it is of no use


@dataclass(frozen=True, slots=True)
class Step:
    """One file and what is to be done with it.

    Attributes:
        file: The file.
        action: What to do.
        have: Bytes on disk that count: the whole file, a prefix, or 0.
        reason: Why something on disk is not used; empty when all of it is.
        sources: What may be adopted, the most promising first.
    """

    file: RepoFile
    action: Action
    have: int
    reason: str = ""
    sources: tuple[Material, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether no byte of it has to be fetched."""
        return self.action in {Action.KEEP, Action.LINK}


@dataclass(frozen=True, slots=True)
class Plan:
    """A step per file, in the order of the listing."""

    steps: tuple[Step, ...]

    @property
    def bytes_total(self) -> int:
        """Size of all files."""
        return sum(step.file.size for step in self.steps)

    @property
    def bytes_have(self) -> int:
        """Bytes on this machine that count: complete files and prefixes, adopted ones included."""
        return sum(step.have for step in self.steps)

    @property
    def bytes_to_adopt(self) -> int:
        """Bytes of these that lie elsewhere on this machine; taken over only if they prove right."""
        return sum(step.have for step in self.steps if step.action is Action.ADOPT)

    @property
    def bytes_to_fetch(self) -> int:
        """Bytes still to come."""
        return self.bytes_total - self.bytes_have

    @property
    def complete(self) -> bool:
        """Whether every file is here and linked."""
        return all(step.action is Action.KEEP for step in self.steps)


def make_plan(
    files: Iterable[RepoFile],
    disk: Mapping[str, OnDisk],
    material: Mapping[str, Sequence[Material]] = MappingProxyType({}),
    /,
    *,
    restart: bool = False,
    force: bool = False,
) -> Plan:
    """Decide what to do with each file.

    Args:
        files: The wanted files.
        disk: What is there of each, by path.
        material: What may be adopted for each, by path.
        restart: Throw partials away (`--no-resume`); complete files stay.
        force: Fetch again even what is complete (`--force`).
    """
    steps = [decide(file, disk[file.path], material.get(file.path, ()), restart=restart, force=force) for file in files]
    seen = {step.file.digest.hex for step in steps if step.complete}
    for number, step in enumerate(steps):
        if not step.complete and step.file.digest.hex in seen:  # the same bytes under another path: fetched once
            steps[number] = Step(step.file, Action.LINK, step.file.size)
        seen.add(step.file.digest.hex)
    return Plan(tuple(steps))


def decide(
    file: RepoFile,
    disk: OnDisk,
    material: Sequence[Material] = (),
    /,
    *,
    restart: bool = False,
    force: bool = False,
) -> Step:
    """What to do with one file; see `make_plan`."""
    if force and disk.blob is not None:
        return Step(file, Action.REFETCH, 0, "fetched again because of --force")
    if disk.blob == file.size and not disk.wrong:
        return Step(file, Action.KEEP if disk.linked else Action.LINK, file.size)
    step = _unfinished(file, disk, restart=restart, force=force)
    useful = [] if force else [one for one in material if one.whole or (not restart and one.bytes > step.have)]
    if not useful:
        return step
    useful.sort(key=lambda one: (one.whole, one.bytes), reverse=True)
    return replace(step, action=Action.ADOPT, have=useful[0].bytes, sources=tuple(useful))


def _unfinished(file: RepoFile, disk: OnDisk, *, restart: bool, force: bool) -> Step:
    wrong = ""
    if disk.wrong:
        wrong = "the stored file has the wrong digest"
    elif disk.blob is not None:
        wrong = f"the stored file has {disk.blob:,} bytes instead of {file.size:,}"
    if disk.partial:
        if restart or force:
            return Step(file, Action.REFETCH, 0, f"{disk.partial:,} bytes thrown away, as asked")
        if disk.partial > file.size:
            return Step(file, Action.REFETCH, 0, f"the partial has {disk.partial:,} bytes, more than the whole file")
        return Step(file, Action.RESUME, disk.partial, wrong)
    return Step(file, Action.REFETCH if wrong else Action.FETCH, 0, wrong)
