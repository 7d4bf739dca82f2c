"""What the Hub says a snapshot holds: asked online, or read from the tree that the Hub client has cached.

Everything the network says is checked before it is believed:
a path becomes a path on this disk, a digest becomes a file name.
"""

from __future__ import annotations

import json
import re
import unicodedata
from fnmatch import fnmatchcase
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from qwen_fetch.base import catalogue
from qwen_fetch.base.files import RepoFile, Snapshot
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qwen_fetch.base.settings import Settings
    from qwen_fetch.cache.store import Store
    from qwen_fetch.listing.hub import Hub

__all__ = ["cached", "fetch", "select"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_TREE_FORMAT = 1  # `format_version` of the client's trees/<commit>.json


def select(listed: Snapshot, include: Sequence[str], exclude: Sequence[str]) -> list[RepoFile]:
    """The files that match a pattern of `include` (empty: all) and none of `exclude`.

    A pattern is a glob over the whole path, as for `hf download --include`: ``*`` crosses slashes, and a
    pattern that ends with a slash means everything below it.

    Raises:
        Problem: (no-match) Nothing is left; the message lists what there is.
    """

    def hit(path: str, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(path, p + "*" if p.endswith("/") else p) for p in patterns)

    wanted = [f for f in listed.files if (not include or hit(f.path, include)) and not hit(f.path, exclude)]
    if not wanted:
        raise Problem(
            catalogue.NO_MATCH,
            repo_id=listed.repo_id,
            patterns=", ".join([*include, *(f"(not) {pattern}" for pattern in exclude)]),
            listing="\n".join(f"         {file.path}" for file in listed.files),
        )
    return wanted


def cached(settings: Settings, store: Store) -> Snapshot | None:
    """The snapshot as far as it is known on this disk, without any network.

    The Hub client's own reader, `huggingface_hub.get_cached_repo_tree`, leaves the sha256 out and costs
    0.25 s of imports, so the file is read here; a test compares the two and fails when the format moves.

    Returns:
        None when no download of this revision has begun here, or the cached tree is damaged.
    """
    commit = settings.revision
    if not _COMMIT.fullmatch(commit):
        commit = store.commit_of(settings.revision) or ""
        if not _COMMIT.fullmatch(commit):
            return None
    return _cached_tree(settings, store, commit)


def fetch(hub: Hub, store: Store, *, keep: bool) -> Snapshot:
    """Ask the Hub which commit the revision is, and what it holds. A commit's tree is asked for once.

    Args:
        hub: The Hub client.
        store: The repo's place in the cache, where the tree may be known already.
        keep: Whether ref and tree are written to the cache (a dry run leaves no trace).

    Raises:
        Exception: As the Hub client raises it; `diagnosis` translates.
        Problem: The listing is unsafe.
    """
    commit = hub.resolve(keep=keep)
    if not _COMMIT.fullmatch(commit):
        raise _unsafe(hub.settings, f"commit {commit!r}")
    if known := _cached_tree(hub.settings, store, commit):
        return known
    if keep:
        hub.record(commit)  # with no file to link, this fetches and caches the tree
        if known := _cached_tree(hub.settings, store, commit):
            return known
    return _snapshot(hub.settings, commit, hub.tree(commit))


def _cached_tree(settings: Settings, store: Store, commit: str) -> Snapshot | None:
    try:
        tree = json.loads((store.repo / "trees" / f"{commit}.json").read_text(encoding="utf-8"))
        if tree["format_version"] != _TREE_FORMAT:
            return None
        entries = [
            (path, entry["size"], entry["blob_id"], entry.get("lfs_sha256"), entry.get("xet_hash"))
            for path, entry in tree["files"].items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return _snapshot(settings, commit, entries)


def _snapshot(settings: Settings, commit: str, entries: Iterable[tuple[Any, ...]]) -> Snapshot:
    files = []
    for path, size, blob_id, sha256, xet_hash in entries:
        _check_path(settings, path)
        if type(size) is not int or size < 0:
            raise _unsafe(settings, f"{path} with size {size!r}")
        try:
            digest = Digest("sha256", sha256) if sha256 else Digest("git-sha1", blob_id)
        except (TypeError, ValueError):
            raise _unsafe(settings, f"{path} with digest {(sha256 or blob_id)!r}") from None
        if xet_hash is not None and not re.fullmatch("[0-9a-f]{64}", str(xet_hash)):
            raise _unsafe(settings, f"{path} with Xet hash {xet_hash!r}")
        files.append(RepoFile(path, size, digest, xet_hash))
    files.sort(key=lambda file: file.path)
    return Snapshot(settings.repo_id, settings.revision, commit, tuple(files))


def _check_path(settings: Settings, path: object) -> None:
    """Refuse a path that could leave the snapshot's folder on any operating system."""
    if (
        not isinstance(path, str)
        or not path
        or any(unicodedata.category(c) in {"Cc", "Cs"} for c in path)  # control codes and halves of characters
        or "\\" in path
        or PurePosixPath(path).is_absolute()
        # A drive takes over wherever it stands: on Windows, the join of "a" and "C:x" is "C:x".
        or any(part in {"", ".", ".."} or PureWindowsPath(part).drive for part in path.split("/"))
    ):
        raise _unsafe(settings, f"path {path!r}")


def _unsafe(settings: Settings, detail: str) -> Problem:
    return Problem(catalogue.UNSAFE_LISTING, host=settings.host, detail=detail)
