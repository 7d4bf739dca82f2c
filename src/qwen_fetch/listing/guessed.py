"""What a repo should hold when no listing of it is on this disk: read from what its own files say of each other.

`model_index.json` names the components, the index files name the shards, a shard's header says how long the shard is,
and of the default repo the tree is known. Nothing here is proof; the first download or `--verify` brings the listing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen_fetch.base.settings import DEFAULT_REPO
from qwen_fetch.listing.known import KNOWN_TREE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from qwen_fetch.base.settings import Settings
    from qwen_fetch.cache.store import Store

__all__ = ["Guess", "guess"]

_MAIN = "main"
_INDEX = ".safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Guess:
    """What should be there.

    Attributes:
        folder: Of the snapshot; None where there is none.
        sizes: Of each file by its path, in bytes; None where it is not known.
    """

    folder: Path | None
    sizes: Mapping[str, int | None]


def guess(settings: Settings, store: Store) -> Guess | None:
    """What should be there, as far as it can be told without a listing.

    Returns:
        None where nothing at all can be told.
    """
    folder = _snapshot(settings, store)
    if folder is None and settings.revision != _MAIN:
        return None
    sizes = _expected(settings, folder)
    return Guess(folder, sizes) if sizes else None


def _snapshot(settings: Settings, store: Store) -> Path | None:
    """The folder of the commit; for the main branch, whose commit is not known, the newest."""
    folders = [path for path in (store.repo / "snapshots").glob("*") if path.is_dir()]
    if settings.revision != _MAIN:
        folders = [path for path in folders if path.name == settings.revision]
    return max(folders, key=lambda path: path.stat().st_mtime, default=None)


def _expected(settings: Settings, folder: Path | None) -> dict[str, int | None]:
    sizes: dict[str, int | None] = dict(KNOWN_TREE) if settings.repo_id == DEFAULT_REPO else {}
    if folder is None:
        return sizes
    for path in folder.rglob("*"):
        if path.is_dir():
            continue
        name = path.relative_to(folder).as_posix()
        sizes.setdefault(name, None)
        if name.endswith(_INDEX):
            place = name.rpartition("/")[0]
            shards = _json(path).get("weight_map", {})
            named = {str(shard) for shard in shards.values()} if isinstance(shards, dict) else set()
            if named:  # the repo was sharded anew: what was known of this folder is no longer so
                prefix = f"{place}/" if place else ""
                sizes = {
                    old: size
                    for old, size in sizes.items()
                    if not (old.startswith(prefix) and old.endswith(".safetensors") and old[len(prefix) :] not in named)
                }
                for shard in named:
                    sizes.setdefault(prefix + shard, None)
    for component, entry in _json(folder / "model_index.json").items():
        there = any(path.startswith(f"{component}/") for path in sizes)
        if isinstance(entry, list) and len(entry) == 2 and entry[0] and not there:
            sizes[f"{component}/"] = None  # something belongs there, whatever its name
    return sizes


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
