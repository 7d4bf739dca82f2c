"""Pointers: every path of a snapshot leads to its bytes, however many paths have the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.cache.store import Store

__all__ = ["link"]


def link(store: Store, commit: str, files: Sequence[RepoFile]) -> list[str]:
    """Make the pointers that are missing or lead elsewhere, of files whose bytes are here.

    Args:
        store: The repo's place in the cache.
        commit: Whose snapshot.
        files: What is wanted of it.

    Returns:
        The paths where something else stood.

    Raises:
        OSError: The file system refuses.
    """
    replaced: list[str] = []
    astray: list[RepoFile] = []
    standing: dict[str, Path] = {}
    for file in files:
        if store.look(commit, file).linked:
            standing.setdefault(file.digest.hex, store.place(commit, file))
        else:
            astray.append(file)
    for file in astray:
        if store.unlink_wrong_pointer(commit, file):
            replaced.append(file.path)
        place = standing.get(file.digest.hex, store.blob(file))
        if place.exists():
            store.lead(commit, file, place)
    return replaced
