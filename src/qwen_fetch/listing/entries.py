"""The door for listings: what a server or a cached tree says of files, checked once, into values that cannot be wrong.

A path becomes a path on this disk, a digest becomes a file name, a size bounds what is fetched.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple

from qwen_fetch.base import catalogue
from qwen_fetch.base.files import RepoFile, Snapshot
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qwen_fetch.base.settings import Settings

__all__ = ["Entry", "is_commit", "snapshot_of", "unsafe"]

_LARGEST = 1 << 50  # bytes of a file: a thousand times what the Hub takes
_LONGEST_NAME = 255  # bytes of a part of a path, on every file system in use
_XET_HASH = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Entry(NamedTuple):
    """What is said of one file, of whatever types.

    Attributes:
        path: Inside the repo.
        size: In bytes.
        blob_id: Git's id of the file, or of the pointer to it.
        sha256: Of a large file; None for a small one.
        xet_hash: Its name in the Xet store, if it is there.
    """

    path: Any
    size: Any
    blob_id: Any
    sha256: Any = None
    xet_hash: Any = None


def is_commit(text: object) -> bool:
    """Whether it is the full hash of a commit."""
    return isinstance(text, str) and bool(_COMMIT.fullmatch(text))


def snapshot_of(settings: Settings, commit: str, entries: Iterable[Entry]) -> Snapshot:
    """The snapshot that these entries describe.

    Args:
        settings: Whose repo and revision it is.
        commit: Its commit.
        entries: What is said of each file.

    Raises:
        Problem: (unsafe-listing) An entry cannot be stored safely, or two cannot beside each other.
    """
    files: dict[str, RepoFile] = {}
    for entry in entries:
        file = _file(settings, entry)
        if file.path in files:
            raise unsafe(settings, f"{file.path} twice")
        files[file.path] = file
    for path in files:
        if folder := next((str(parent) for parent in PurePosixPath(path).parents if str(parent) in files), ""):
            raise unsafe(settings, f"{folder} as a file and as a folder")
    return Snapshot(settings.repo_id, settings.revision, commit, tuple(files[path] for path in sorted(files)))


def unsafe(settings: Settings, detail: str) -> Problem:
    """The problem with such a listing."""
    return Problem(catalogue.UNSAFE_LISTING, host=settings.host, detail=detail)


def _file(settings: Settings, entry: Entry) -> RepoFile:
    path, size, blob_id, sha256, xet_hash = entry
    if not _is_path(path):
        raise unsafe(settings, f"path {path!r:.300}")
    if type(size) is not int or not 0 <= size <= _LARGEST:
        raise unsafe(settings, f"{path} with size {size!r:.100}")
    try:
        blob = Digest("git-sha1", blob_id)
        digest = blob if sha256 is None else Digest("sha256", sha256)
    except (TypeError, ValueError):
        raise unsafe(settings, f"{path} with digest {(sha256 or blob_id)!r:.100}") from None
    # A gated repo shows 64 asterisks to those who may not read it: what is no hash is none, and plain HTTP remains.
    known = xet_hash if isinstance(xet_hash, str) and _XET_HASH.fullmatch(xet_hash) else None
    return RepoFile(path, size, digest, known, blob.hex)


def _is_path(path: object) -> bool:
    """Whether it stays in the snapshot's folder on every operating system."""
    return (
        isinstance(path, str)
        and bool(path)
        and not any(unicodedata.category(c) in {"Cc", "Cs"} for c in path)  # control codes and halves of characters
        and "\\" not in path
        and not PurePosixPath(path).is_absolute()
        # A drive takes over wherever it stands: on Windows, the join of "a" and "C:x" is "C:x".
        and not any(
            part in {"", ".", ".."} or PureWindowsPath(part).drive or len(part.encode()) > _LONGEST_NAME
            for part in path.split("/")
        )
    )
