"""Where a snapshot stands on this disk, as one value: status, verify and the end of a download show it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qwen_fetch.cache.inspection import oddity
from qwen_fetch.cache.memory import Memory, survey
from qwen_fetch.transfer.plan import Action, decide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from qwen_fetch.base.files import RepoFile, Snapshot
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.cache.store import Leftover, Store
    from qwen_fetch.listing.guessed import Guess
    from qwen_fetch.transfer.plan import Step

__all__ = ["FileReport", "FileState", "Report", "make_report", "report_of_guess"]


class FileState(StrEnum):
    """Where one file stands."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    MISSING = "missing"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file.

    Attributes:
        path: Inside the repo.
        size: As listed, in bytes.
        state: Where it stands.
        bytes: How many of its bytes are here.
        verified: True or False where its digest was compared, None where it was not.
        reason: What is wrong with it, in words, where something is known to be.
        when: When its digest was compared, seconds since 1970; None where it was not.
    """

    path: str
    size: int
    state: FileState
    bytes: int
    verified: bool | None
    reason: str = ""
    when: float | None = None

    @property
    def component(self) -> str:
        """The folder it belongs to; empty at the top of the repo."""
        return self.path.rpartition("/")[0].split("/", 1)[0]


@dataclass(frozen=True, slots=True)
class Report:
    """A snapshot as it stands; sizes in bytes. `note`: what makes it less certain than it looks, if anything."""

    repo_id: str
    revision: str
    commit: str
    cache_dir: str
    files: tuple[FileReport, ...]
    leftovers: tuple[Leftover, ...]
    disk_free: int
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether every file is here."""
        return all(file.state is FileState.COMPLETE for file in self.files)

    @property
    def bytes_total(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files)

    @property
    def bytes_present(self) -> int:
        """Bytes of the complete files."""
        return sum(file.size for file in self.files if file.state is FileState.COMPLETE)

    @property
    def bytes_partial(self) -> int:
        """Bytes of the partial files that are here."""
        return sum(file.bytes for file in self.files if file.state is FileState.PARTIAL)

    def in_state(self, state: FileState) -> list[FileReport]:
        """The files in one state."""
        return [file for file in self.files if file.state is state]

    def as_json(self) -> dict[str, Any]:
        """The contract of `--json`."""
        return {
            "repo_id": self.repo_id,
            "revision": self.revision,
            "commit": self.commit,
            "cache_dir": self.cache_dir,
            "complete": self.complete,
            "bytes_total": self.bytes_total,
            "bytes_present": self.bytes_present,
            "bytes_partial": self.bytes_partial,
            "files": [
                {
                    "path": file.path,
                    "size": file.size,
                    "state": str(file.state),
                    "bytes": file.bytes,
                    "verified": file.verified,
                }
                for file in self.files
            ],
            "leftovers": [
                {"path": str(leftover.path), "bytes": leftover.bytes, "kind": leftover.kind}
                for leftover in self.leftovers
            ],
            "disk_free": self.disk_free,
        }


def make_report(
    settings: Settings,
    store: Store,
    snapshot: Snapshot,
    files: Sequence[RepoFile],
    verified: Mapping[str, bool] = MappingProxyType({}),
) -> Report:
    """Look at the disk and say where `files` stand.

    Args:
        settings: For the cache folder as it will be shown.
        store: The repo's place in the cache.
        snapshot: What the Hub lists.
        files: The wanted files of it.
        verified: What was found just now and could not be remembered, by path.
    """
    memory = Memory(store)
    disk = survey(store, memory, snapshot.commit, files)
    steps = [decide(file, disk[file.path]) for file in files]
    needed = {store.partial(step.file) for step in steps if not step.complete}
    needed |= {store.pointer(snapshot.commit, file) for file in files}
    return Report(
        repo_id=settings.repo_id,
        revision=settings.revision,
        commit=snapshot.commit,
        cache_dir=str(store.cache_dir),
        files=tuple(_file(store, memory, snapshot.commit, step, verified.get(step.file.path)) for step in steps),
        # What will be continued or made again is not left over; lock files are empty and belong to everybody.
        leftovers=tuple(one for one in store.leftovers() if one.kind != "lock" and one.path not in needed),
        disk_free=store.free_bytes,
    )


def report_of_guess(settings: Settings, store: Store, guess: Guess) -> Report:
    """Look at the disk and say where the files stand that should be there by a guess; it says so.

    Args:
        settings: Which repo, for the report.
        store: The repo's place in the cache.
        guess: What should be there.
    """
    return Report(
        repo_id=settings.repo_id,
        revision=settings.revision,
        commit=guess.folder.name if guess.folder else "",
        cache_dir=str(store.cache_dir),
        files=tuple(_guessed_file(guess.folder, path, size) for path, size in sorted(guess.sizes.items())),
        leftovers=tuple(leftover for leftover in store.leftovers() if leftover.kind != "lock"),
        disk_free=store.free_bytes,
        note="The Hub's listing is not here: this is what the files say of each other, and is known of the repo.",
    )


def _file(store: Store, memory: Memory, commit: str, step: Step, right: bool | None) -> FileReport:
    file = step.file
    report = FileReport(file.path, file.size, FileState.MISSING, step.have, right)
    if step.complete:
        place = store.place(commit, file)
        if right is None and (read := memory.recall(place)):
            report = replace(report, verified=True, when=read.when)
        # Of the listed size and no page: complete, until its digest is compared. More is the business of verify.
        elif file.is_large and (fault := _fault(place, weights=False)):
            return replace(report, state=FileState.CORRUPT, reason=fault)
    if right is False or step.action is Action.REFETCH:
        place = store.place(commit, file)
        read = memory.recall(place)
        reason = "; ".join(
            filter(
                None, [step.reason or "it cannot be read", _fault(place, weights=file.path.endswith(".safetensors"))]
            )
        )
        return replace(
            report, state=FileState.CORRUPT, verified=False if read else right, reason=reason, when=read and read.when
        )
    if step.action is Action.KEEP:
        return replace(report, state=FileState.COMPLETE)
    reason = step.reason or store.pointer_fault(commit, file)
    if step.action is Action.LINK and not reason and (other := _other_commit(store, memory, commit, file)):
        reason = f"in the snapshot of {other[:8]}, and linked or moved here by the next run"
    return replace(report, state=FileState.PARTIAL if step.have else FileState.MISSING, reason=reason)


def _other_commit(store: Store, memory: Memory, commit: str, file: RepoFile) -> str | None:
    """In whose snapshot the bytes of a file lie, where that is another one."""
    place = memory.standing(file)
    other = store.commit_at(place) if place else None
    return None if other == commit else other


def _fault(place: Path, *, weights: bool) -> str:
    try:
        return oddity(place, safetensors=weights)
    except OSError:
        return ""


def _guessed_file(folder: Path | None, name: str, size: int | None) -> FileReport:
    path = folder / name if folder else None
    if path is None or not path.is_file():
        return FileReport(name, size or 0, FileState.MISSING, 0, None)
    there = path.stat().st_size
    try:
        fault = oddity(path, safetensors=name.endswith(".safetensors"))
    except OSError as error:
        fault = f"it cannot be read: {error.strerror}"
    state = FileState.CORRUPT if fault else FileState.COMPLETE
    return FileReport(name, size or there, state, 0 if fault else there, None, fault)
