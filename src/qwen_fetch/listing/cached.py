"""The listing kept on this disk, in the Hub client's own format, and who said it.

``refs/<revision>`` and ``trees/<commit>.json`` are written here, in one step each, as the client writes them; a test
compares the two and fails when its format moves. Who said a tree and when stands in a record of ours beside it, which
holds as long as the tree is the very one that was said.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from qwen_fetch.base.problem import Problem
from qwen_fetch.cache.disk import read_small, replace_text
from qwen_fetch.listing.entries import Entry, is_commit, snapshot_of

if TYPE_CHECKING:
    from pathlib import Path

    from qwen_fetch.base.files import RepoFile, Snapshot
    from qwen_fetch.base.settings import Settings
    from qwen_fetch.cache.store import Store

__all__ = ["Said", "cached", "cached_tree", "record", "record_ref", "who_said"]

_TREE_FORMAT = 1  # `format_version` of the client's trees/<commit>.json
_FORMAT = 1


class Said(NamedTuple):
    """Who listed a commit, and when.

    Attributes:
        endpoint: The address that was asked.
        when: Seconds since 1970.
    """

    endpoint: str
    when: float


def cached(settings: Settings, store: Store) -> Snapshot | None:
    """The snapshot as far as it is known on this disk, without any network.

    The Hub client's own reader, `huggingface_hub.get_cached_repo_tree`, leaves the sha256 out and costs
    0.25 s of imports, so the file is read here.

    Returns:
        None when no download of this revision has begun here, or the cached tree is damaged or unsafe.
    """
    commit = settings.revision if is_commit(settings.revision) else store.commit_of(settings.revision)
    return cached_tree(settings, store, commit) if commit is not None and is_commit(commit) else None


def cached_tree(settings: Settings, store: Store, commit: str) -> Snapshot | None:
    """The same for a commit."""
    try:
        tree = json.loads(read_small(_tree(store, commit)))
        if tree["format_version"] != _TREE_FORMAT:
            return None
        entries = [
            Entry(path, entry["size"], entry["blob_id"], entry.get("lfs_sha256"), entry.get("xet_hash"))
            for path, entry in tree["files"].items()
        ]
        return snapshot_of(settings, commit, entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, Problem):
        return None


def who_said(store: Store, commit: str) -> Said | None:
    """Who listed the commit as it is cached; None where that is not known."""
    with suppress(OSError, ValueError, KeyError, TypeError, OverflowError):
        endpoint, when, digest = _load(store)[commit]
        if digest == hashlib.sha256(read_small(_tree(store, commit)).encode()).hexdigest():
            return Said(str(endpoint), float(when))
    return None


def record(store: Store, snapshot: Snapshot, endpoint: str) -> None:
    """Keep what an endpoint has just listed.

    Raises:
        OSError: It cannot be written.
    """
    tree = {
        "format_version": _TREE_FORMAT,
        "files": {file.path: _as_client_writes(file) for file in snapshot.files},
    }
    text = json.dumps(tree, indent=1)
    replace_text(_tree(store, snapshot.commit), text, store.cache_dir)
    said = _load(store)
    said[snapshot.commit] = [endpoint, time.time(), hashlib.sha256(text.encode()).hexdigest()]
    replace_text(_record(store), json.dumps({"format": _FORMAT, "said": said}, indent=1), store.cache_dir)


def record_ref(store: Store, revision: str, commit: str) -> None:
    """Keep which commit a branch or tag stands for.

    Raises:
        OSError: It cannot be written.
    """
    if revision != commit and store.commit_of(revision) != commit:
        replace_text(store.repo / "refs" / revision, commit, store.cache_dir)


def _as_client_writes(file: RepoFile) -> dict[str, Any]:
    entry: dict[str, Any] = {"size": file.size, "blob_id": file.blob_id}
    if file.is_large:
        entry |= {"lfs_sha256": file.digest.hex, "lfs_size": file.size}
    return entry if file.xet_hash is None else entry | {"xet_hash": file.xet_hash}


def _tree(store: Store, commit: str) -> Path:
    return store.repo / "trees" / f"{commit}.json"


def _record(store: Store) -> Path:
    return store.own / "listings.json"


def _load(store: Store) -> dict[str, Any]:
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        record = json.loads(read_small(_record(store)))
        if record["format"] == _FORMAT and isinstance(record["said"], dict):
            return dict(record["said"])
    return {}
