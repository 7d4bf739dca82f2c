"""What lies on this machine that a missing file could be made of: found by name and size, proved later.

Looked at: what killed Hub clients left in the repo's own folder, a stored file that is wrong but not to its last byte,
the snapshots of other commits, the other repos of the cache, the Hub client's shared store, and the folders that the
user names.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_fetch.cache.disk import file_size
from qwen_fetch.cache.inspection import can_begin, filled, received

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.cache.memory import Memory
    from qwen_fetch.cache.store import OnDisk, Store

__all__ = ["Material", "search", "usable"]

# <etag>.incomplete, <etag>.<8 hex>.incomplete, and the same behind a short hash where `--local-dir` keeps them.
_UNFINISHED = re.compile(r"(?:[\w=-]+\.)?([0-9a-f]{64})(?:\.[0-9a-f]{8})?\.incomplete")


@dataclass(frozen=True, slots=True)
class Material:
    """A file that may hold the bytes of a missing one.

    Attributes:
        path: Where it lies.
        bytes: How many of its bytes, from the first one on, may be of use.
        whole: Whether it may be the whole file; else a prefix.
        ours: Whether it lies in the repo's own folder, where nobody else needs it: it may be moved and cut.
        wrong: Whether its digest, or its length, is known to be wrong.
    """

    path: Path
    bytes: int
    whole: bool = False
    ours: bool = False
    wrong: bool = False


def search(
    store: Store,
    commit: str,
    files: Sequence[RepoFile],
    disk: Mapping[str, OnDisk],
    folders: Iterable[Path],
    memory: Memory,
) -> dict[str, list[Material]]:
    """What could be adopted for each large file that is not complete, by its path.

    Args:
        store: The repo's place in the cache.
        commit: Whose snapshot.
        files: The wanted files.
        disk: What is there of each already, by path.
        folders: Where else to look, all the way down; links are not followed.
        memory: What was read of the files here: what is known to be another file is not offered.
    """
    missing = [file for file in files if not _is_complete(file, disk[file.path])]
    if not missing:
        return {}
    found: dict[str, list[Material]] = {file.path: [] for file in missing}
    remains, digests = store.remains(), {file.path: file.digest.hex for file in missing}
    others = [repo for repo in sorted(store.cache_dir.glob("models--*")) if repo != store.repo]
    for file in missing:
        found[file.path] += _own(store, commit, file, disk[file.path], remains.get(file.digest.hex, ()))
        found[file.path] += _in_cache(store, others, file)
    # Without symlinks, files lie in the snapshots of other commits themselves.
    snapshots = [one for one in (store.repo / "snapshots").glob("*") if one.name != commit and not one.is_symlink()]
    for folder in (*snapshots, *(folder.expanduser() for folder in folders)):
        for path, material in _in_folder(folder, missing, store.repo):
            if not (material.whole and _is_another(material.path, digests[path], memory)):
                found[path].append(material)
    # A file of the same name first: others may have its size by accident.
    return {
        path: sorted(offers, key=lambda one: not one.path.as_posix().endswith(f"/{path}"))
        for path, offers in found.items()
        if offers
    }


def usable(path: Path, file: RepoFile, *, wrong: bool) -> int:
    """How many bytes from the start of an unfinished or damaged file may be the right ones.

    Nothing short of the whole file's digest can prove a prefix, so this says what is likely, and the digest at the
    end decides. A file known to be wrong is cut where its zeros begin; where there are none, nothing can be told.

    Raises:
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    if not can_begin(path, file.size, safetensors=file.path.endswith(".safetensors")):
        return 0
    if not wrong:
        return min(received(path), file.size)
    good = min(received(path), filled(path))
    return min(good, file.size) if good < size or size != file.size else 0


def _is_complete(file: RepoFile, disk: OnDisk) -> bool:
    return disk.blob == file.size and not disk.wrong


def _is_another(path: Path, digest: str, memory: Memory) -> bool:
    """Whether a file is known to have another digest, of the same kind."""
    known = memory.recall(path)
    return known is not None and len(known.digest) == len(digest) and known.digest != digest


def _own(store: Store, commit: str, file: RepoFile, disk: OnDisk, remains: Iterable[Path]) -> Iterator[Material]:
    for path in remains:
        yield from _prefix(path, file, ours=True)
    if disk.blob:
        place = store.place(commit, file)
        yield from _prefix(place, file, ours=not place.is_symlink(), wrong=True)


def _in_cache(store: Store, others: Iterable[Path], file: RepoFile) -> Iterator[Material]:
    places = [repo / "blobs" / file.digest.hex for repo in others]
    if file.xet_hash:
        places.append(store.cache_dir / "blobs" / file.xet_hash[:2] / file.xet_hash)
    for path in places:
        if file_size(path) == file.size:
            yield Material(path, file.size, whole=True)


def _in_folder(folder: Path, missing: Sequence[RepoFile], own: Path) -> Iterator[tuple[str, Material]]:
    sizes: dict[int, list[RepoFile]] = {}
    for file in missing:
        sizes.setdefault(file.size, []).append(file)
    digests = {file.digest.hex: file for file in missing}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if Path(place, name) != own)
        for name in sorted(names):
            path = Path(place, name)
            if path.is_symlink():
                continue
            if match := _UNFINISHED.fullmatch(name):
                if unfinished := digests.get(match[1]):
                    yield from ((unfinished.path, material) for material in _prefix(path, unfinished))
                continue
            for file in sizes.get(file_size(path) or 0, ()):
                yield file.path, Material(path, file.size, whole=True)


def _prefix(path: Path, file: RepoFile, *, ours: bool = False, wrong: bool = False) -> Iterator[Material]:
    try:
        good = usable(path, file, wrong=wrong)
    except OSError:
        return
    if good:
        yield Material(path, good, ours=ours, wrong=wrong)
