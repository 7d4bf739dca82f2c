"""Where a snapshot stands on this disk, as one value: status, verify and the end of a download show it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qwen_fetch.plan import Action, decide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qwen_fetch.plan import Step
    from qwen_fetch.settings import Settings
    from qwen_fetch.snapshot import RepoFile, Snapshot
    from qwen_fetch.store import Leftover, Store

__all__ = ["FileReport", "FileState", "Report", "make_report"]


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
    """

    path: str
    size: int
    state: FileState
    bytes: int
    verified: bool | None


@dataclass(frozen=True, slots=True)
class Report:
    """A snapshot as it stands; sizes in bytes."""

    repo_id: str
    revision: str
    commit: str
    cache_dir: str
    files: tuple[FileReport, ...]
    leftovers: tuple[Leftover, ...]
    disk_free: int

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
        verified: Results of digests compared just now, by path.
    """
    disk = store.survey(snapshot.commit, files)
    steps = [decide(file, disk[file.path]) for file in files]
    growing = {store.partial(step.file) for step in steps if not step.complete}
    return Report(
        repo_id=settings.repo_id,
        revision=settings.revision,
        commit=snapshot.commit,
        cache_dir=str(store.cache_dir),
        files=tuple(_file(step, verified) for step in steps),
        # A partial that will be continued is not left over; lock files are empty and belong to everybody.
        leftovers=tuple(
            leftover for leftover in store.leftovers() if leftover.kind != "lock" and leftover.path not in growing
        ),
        disk_free=store.free_bytes,
    )


def _file(step: Step, verified: Mapping[str, bool]) -> FileReport:
    right = verified.get(step.file.path)
    if right is False or step.action is Action.REFETCH:
        state = FileState.CORRUPT
    elif step.action is Action.KEEP:
        state = FileState.COMPLETE
    else:
        state = FileState.PARTIAL if step.have else FileState.MISSING
    return FileReport(step.file.path, step.file.size, state, step.have, right)
