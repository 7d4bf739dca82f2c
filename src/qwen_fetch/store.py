"""One repo's place in the standard Hugging Face cache: where things lie, what is there, what is left over.

    <cache>/models--O--N/blobs/<digest>             a complete file
                         blobs/<digest>.incomplete  a partial: a contiguous prefix of it
                         snapshots/<commit>/<path>  a pointer (symlink) to a blob
                         refs/<revision>            the commit that a branch stands for
                         trees/<commit>.json        what the Hub lists for a commit
    <cache>/.locks/models--O--N/<digest>.lock       held while that blob is being written

No network, and nothing here decides: `plan` does.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qwen_fetch.snapshot import RepoFile

__all__ = ["Leftover", "OnDisk", "Store", "first_hole"]

LeftoverKind = Literal["partial", "orphan", "lock"]
_ORPHAN = re.compile(r"[0-9a-f]{40,64}\.[0-9a-f]{8}\.incomplete")  # what huggingface_hub >= 1.18 leaves behind


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What the disk holds of one file, in bytes; None where there is nothing.

    Attributes:
        blob: Size of the complete file under its final name.
        partial: Length of the prefix received so far.
        linked: Whether the snapshot's pointer leads to a file of the listed size.
    """

    blob: int | None = None
    partial: int | None = None
    linked: bool = False


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file in the cache that is no part of any snapshot."""

    path: Path
    bytes: int
    kind: LeftoverKind


class Store:
    """The folders of one repo in a cache.

    Args:
        cache_dir: The Hub cache, absolute.
        repo_id: ``owner/name``.
    """

    def __init__(self, cache_dir: Path, repo_id: str) -> None:
        name = "models--" + repo_id.replace("/", "--")
        self.cache_dir = cache_dir
        self.repo = cache_dir / name
        self.blobs = self.repo / "blobs"
        self.locks = cache_dir / ".locks" / name
        self.share_partials = True

    def blob(self, file: RepoFile) -> Path:
        """Where the complete file lies."""
        return self.blobs / file.digest.hex

    def partial(self, file: RepoFile) -> Path:
        """Where its prefix grows.

        Where locks do not hold, each machine has a name of its own, in the form of the Hub client's temporary
        files, so that everybody's cleanup knows it.
        """
        own = self.blobs / f"{file.digest.hex}.{_machine()}.incomplete"
        return own if not self.share_partials or own.exists() else self.blobs / f"{file.digest.hex}.incomplete"

    def snapshot(self, commit: str) -> Path:
        """The folder of pointers of one commit."""
        return self.repo / "snapshots" / commit

    def pointer(self, commit: str, file: RepoFile) -> Path:
        """Where programs find the file."""
        return self.snapshot(commit).joinpath(*file.path.split("/"))

    def commit_of(self, revision: str) -> str | None:
        """The commit that a branch or tag stood for when it was last asked for; None when it never was."""
        try:
            return (self.repo / "refs" / revision).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None

    def blob_size(self, file: RepoFile) -> int | None:
        """Size of the complete file under its final name; None when it is not there."""
        return _size(self.blob(file))

    def partial_size(self, file: RepoFile) -> int | None:
        """Length of the prefix received so far; None when there is none."""
        return _size(self.partial(file))

    def look(self, commit: str, file: RepoFile) -> OnDisk:
        """What the disk holds of one file."""
        linked = _size(self.pointer(commit, file))
        blob = self.blob_size(file)
        return OnDisk(
            # Where symlinks do not work, the pointer is the file.
            blob=linked if blob is None else blob,
            partial=self.partial_size(file) if file.is_large else None,
            linked=linked == file.size,
        )

    def survey(self, commit: str, files: Iterable[RepoFile]) -> dict[str, OnDisk]:
        """What the disk holds of each file, by its path."""
        return {file.path: self.look(commit, file) for file in files}

    def leftovers(self) -> Iterator[Leftover]:
        """Every file that no snapshot needs: partials, orphans of killed clients, lock files."""
        for path in _files(self.blobs):
            if path.name.endswith(".incomplete"):
                yield Leftover(path, path.lstat().st_size, "orphan" if _ORPHAN.fullmatch(path.name) else "partial")
        for path in _files(self.locks):
            yield Leftover(path, path.lstat().st_size, "lock")

    @property
    def free_bytes(self) -> int:
        """Free space on the file system that holds, or will hold, the cache."""
        folder = self.cache_dir
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder).free

    @cached_property
    def symlinks_work(self) -> bool:
        """Whether symlinks can be made in the cache (on Windows: only with Developer Mode or as administrator)."""
        self.repo.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.repo, prefix=".probe-") as folder:
            try:
                Path(folder, "link").symlink_to(Path(folder, "target"))
            except (OSError, NotImplementedError):
                return False
        return True

    def install(self, commit: str, file: RepoFile) -> None:
        """Give a verified partial its final name, in one step.

        The Hub client makes the pointer afterwards. Where it cannot make symlinks it would copy the
        blob, 58 GB a second time, so there the file goes to the pointer's place itself.

        Raises:
            OSError: The file system refuses; the partial is still there.
        """
        target = self.blob(file)
        if not self.symlinks_work:
            target = self.pointer(commit, file)
            target.parent.mkdir(parents=True, exist_ok=True)
        self.partial(file).replace(target)

    def discard(self, commit: str, file: RepoFile) -> None:
        """Remove a file that was shown to be wrong, pointer and blob."""
        for path in (self.pointer(commit, file), self.blob(file)):
            path.unlink(missing_ok=True)


def first_hole(descriptor: int, size: int) -> int:
    """Where the first hole of an open file begins; its size when it has none, or the system cannot tell.

    A partial that another program preallocated reads as zeros from there on: those bytes were never received.
    """
    if not hasattr(os, "SEEK_HOLE"):
        return size
    try:
        return min(size, os.lseek(descriptor, 0, os.SEEK_HOLE))
    except OSError:
        return size


@cache
def _machine() -> str:
    """Eight hex digits that stay the same on this machine."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.is_file())
