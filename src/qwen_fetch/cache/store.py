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
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Literal, Self

from qwen_fetch.base.shell import is_switched_on
from qwen_fetch.cache import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from qwen_fetch.base.files import RepoFile

__all__ = ["Leftover", "OnDisk", "Store"]

LeftoverKind = Literal["partial", "orphan", "temporary", "pointer", "lock", "foreign", "xet"]
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PARTIAL = re.compile(r"[0-9a-f]{40,64}\.incomplete")
_LOCK = re.compile(r"[0-9a-f]{40,64}\.(lock|holder)|\.probe-.*\.lock")
_TEMPORARY = re.compile(r"tmp_[0-9a-f-]{36}|\..*\.[0-9a-f]{8}\.(new|old|shared)")  # names in the Hub client's source


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What the disk holds of one file, in bytes; None where there is nothing.

    Attributes:
        blob: Size of the complete file under its final name.
        partial: Length of the prefix received so far.
        linked: Whether the snapshot's pointer leads to that file, and it has the listed size.
        wrong: Whether the complete file is known to have another digest.
    """

    blob: int | None = None
    partial: int | None = None
    linked: bool = False
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file in the cache that is no part of any snapshot.

    Attributes:
        path: Where it lies.
        bytes: Its size.
        kind: ``partial``: a prefix that the next run continues; ``orphan``: what a killed Hub client left and
            never uses again; ``temporary``: its other short-lived files; ``pointer``: leads to nothing; ``lock``;
            ``foreign``: no Hub client makes such a file; ``xet``: of the Xet client, and of no repo.
    """

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
        self.own = self.repo / ".qwen-fetch"  # Hub clients neither count nor check what lies there
        self.locks = cache_dir / ".locks" / name
        self.share_partials = True
        self.on_wait: Callable[[str], None] = lambda _: None  # told whom a finished file waits for

    @classmethod
    def open(cls, cache_dir: Path, repo_id: str) -> Self:
        """The same, after a look: none of its folders is a link that leads elsewhere.

        Raises:
            Problem: (not-ours) One is.
        """
        store = cls(cache_dir, repo_id)
        inner = (store.blobs, store.repo / "snapshots", store.repo / "refs", store.repo / "trees", store.own)
        for folder in (store.repo, *inner, store.locks.parent, store.locks):
            disk.check_folder(folder)
        return store

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
        return self.snapshot(commit) / file.path

    def commit_of(self, revision: str) -> str | None:
        """The commit that a branch or tag stood for when it was last asked for; None when it never was."""
        try:
            return disk.read_small(self.repo / "refs" / revision, most=1000).strip()
        except (OSError, UnicodeDecodeError):
            return None

    def commit_at(self, path: Path) -> str | None:
        """Whose snapshot a path is in; None where it is in none."""
        snapshots = self.repo / "snapshots"
        return path.relative_to(snapshots).parts[0] if snapshots in path.parents else None

    def blob_size(self, file: RepoFile) -> int | None:
        """Size of the complete file under its final name; None when it is not there."""
        return disk.file_size(self.blob(file))

    def partial_size(self, file: RepoFile) -> int | None:
        """Length of the prefix received so far; None when there is none."""
        return disk.file_size(self.partial(file))

    def look(self, commit: str, file: RepoFile) -> OnDisk:
        """What the disk holds of one file."""
        pointer, stored = self.pointer(commit, file), self.blob_size(file)
        partial = self.partial_size(file)
        if (loaded := self._loaded(commit, file)) is not None and (loaded == file.size or stored is None):
            # Where symlinks do not work, or a cache was copied, the pointer is the file: what programs load.
            return OnDisk(blob=loaded, partial=partial, linked=loaded == file.size)
        leads = stored == file.size and disk.leads_to(pointer, self.blob(file))
        return OnDisk(blob=stored, partial=partial, linked=leads)

    def place(self, commit: str, file: RepoFile) -> Path:
        """Where the complete file lies: its blob, or the pointer's place if that is no link, for that is what loads."""
        loaded, stored = self._loaded(commit, file), self.blob_size(file)
        is_there = loaded is not None and (loaded == file.size or stored is None)
        return self.pointer(commit, file) if is_there else self.blob(file)

    def _loaded(self, commit: str, file: RepoFile) -> int | None:
        """Size of the file in a pointer's place; None where there is none, or a link."""
        pointer = self.pointer(commit, file)
        size = disk.file_size(pointer)
        return None if size != file.size and disk.is_foreign_link(pointer) else size

    def survey(self, commit: str, files: Iterable[RepoFile]) -> dict[str, OnDisk]:
        """What the disk holds of each file, by its path."""
        return {file.path: self.look(commit, file) for file in files}

    def leftovers(self) -> Iterator[Leftover]:
        """Every file that no snapshot needs; see `LeftoverKind`."""
        for path, size in _files(self.blobs):
            if kind := _blob_kind(path.name):
                yield Leftover(path, size, kind)
        for folder in (self.blobs, self.repo / "snapshots"):
            for path in sorted(folder.rglob("*")):
                if path.is_symlink() and not path.exists() and _BLOB.fullmatch(path.readlink().name):
                    yield Leftover(path, 0, "pointer")
        for path, size in _files(self.locks):
            if _LOCK.fullmatch(path.name):
                yield Leftover(path, size, "lock")

    def remains(self) -> dict[str, list[Path]]:
        """What killed clients left of files besides their partials, by the digest in their names."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.blobs.glob("*.*.incomplete")):
            found.setdefault(path.name.partition(".")[0], []).append(path)
        return found

    def spare_name(self, file: RepoFile) -> Path:
        """A free name for bytes of a file on their way in or out: every Hub client knows it for a leftover."""
        return self.blobs / f"{file.digest.hex}.{secrets.token_hex(4)}.incomplete"

    @property
    def free_bytes(self) -> int:
        """Free space on the file system that holds, or will hold, the cache."""
        return disk.free_bytes(self.cache_dir)

    @cached_property
    def hard_links_work(self) -> bool:
        """Whether a file of the cache can have two names, or share its blocks with another."""
        disk.make_folder(self.repo, self.cache_dir)
        return disk.hard_links_work(self.repo) or self.clones_work

    @cached_property
    def clones_work(self) -> bool:
        """Whether two files of the cache can share their blocks."""
        disk.make_folder(self.repo, self.cache_dir)
        return disk.clones_work(self.repo)

    @cached_property
    def symlinks_work(self) -> bool:
        """Whether symlinks can be made in the cache, and may be.

        HF_HUB_DISABLE_SYMLINKS forbids them.
        """
        if is_switched_on("HF_HUB_DISABLE_SYMLINKS"):
            return False
        disk.make_folder(self.repo, self.cache_dir)
        return disk.symlinks_work(self.repo)

    def install(self, commit: str, file: RepoFile, verified: Path | None = None) -> None:
        """Give a verified file its final name, in one step, and lead its pointer there if it has none.

        The Hub client would make the pointer, but asks the Hub for each that is missing. Where it cannot make
        symlinks it would copy the blob, 58 GB a second time, so there the file goes to the pointer's place itself.

        Args:
            commit: Whose snapshot.
            file: What it is.
            verified: Where it is now, on the same file system; None: the partial.

        Raises:
            OSError: The file system refuses; the file is still where it was.
        """
        blob, pointer = self.blob(file), self.pointer(commit, file)
        disk.make_folder(pointer.parent, self.repo)
        target = blob if self.symlinks_work else pointer
        if target == blob and not pointer.is_symlink():
            self.unlink_wrong_pointer(commit, file, whatever=True)
        disk.give_name(verified or self.partial(file), target, self.on_wait)
        if file.is_large:  # its bytes were flushed before; a small file is fetched again in no time
            disk.flush_folder(target.parent)
        if target == blob:
            with suppress(OSError):  # there is one
                disk.point(pointer, blob)

    def discard(self, commit: str, file: RepoFile) -> None:
        """Remove a file that was shown to be wrong, pointer and blob."""
        for path in (self.pointer(commit, file), self.blob(file)):
            disk.remove(path, missing_ok=True)

    def pointer_fault(self, commit: str, file: RepoFile) -> str:
        """What is wrong with the snapshot's pointer to a file, in words; empty where nothing is."""
        pointer = self.pointer(commit, file)
        if self.look(commit, file).linked or not os.path.lexists(pointer):
            return ""
        if disk.is_foreign_link(pointer):
            return "its pointer is a link of another system, which this one cannot follow"
        if not pointer.is_symlink():
            return "a file stands in its pointer's place"
        if not disk.leads_somewhere(pointer):
            return "its pointer leads to nothing"
        return "" if disk.leads_to(pointer, self.blob(file)) else "its pointer leads to another file"

    def unlink_wrong_pointer(self, commit: str, file: RepoFile, *, whatever: bool = False) -> bool:
        """Make way for a pointer that leads to the right blob; returns whether something stood there.

        The Hub client takes any pointer that leads somewhere for a good one. A real file is set aside.

        Args:
            commit: Whose snapshot.
            file: What should be there.
            whatever: Also make way where what stands there has the right size: its bytes are wrong.

        Raises:
            OSError: The file system refuses.
            Problem: (not-ours) It is neither a link nor a file.
        """
        pointer = self.pointer(commit, file)
        if not os.path.lexists(pointer) or (not whatever and self.look(commit, file).linked):
            return False
        if pointer.is_symlink() or disk.is_foreign_link(pointer):
            disk.remove(pointer)
        else:
            disk.check_file(pointer)
            disk.make_folder(self.blobs, self.repo)
            disk.give_name(pointer, self.spare_name(file))
        return True


@cache
def _machine() -> str:
    """Eight hex digits that stay the same on this machine."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _blob_kind(name: str) -> LeftoverKind | None:
    if _BLOB.fullmatch(name):
        return None
    if name.endswith(".incomplete"):
        return "partial" if _PARTIAL.fullmatch(name) else "orphan"
    return "temporary" if _TEMPORARY.fullmatch(name) else "foreign"


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """The files of a folder with their sizes; one that a live process has just taken away is none."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            if (size := disk.file_size(path)) is not None:
                yield path, size
