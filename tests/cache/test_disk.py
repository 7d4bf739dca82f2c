"""What differs between operating systems and file systems."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qwen_fetch.cache.disk import first_hole

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_file_without_a_hole_has_none(tmp_path: Path) -> None:
    path = _put(tmp_path / "x", 10_000)
    with path.open("rb") as file:
        assert first_hole(file.fileno(), 10_000) == 10_000


def test_a_system_that_cannot_tell_holes_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _put(tmp_path / "x", 100)
    with path.open("rb") as file:
        monkeypatch.delattr(os, "SEEK_HOLE", raising=False)
        assert first_hole(file.fileno(), 100) == 100


def _put(path: Path, size: int) -> Path:
    path.write_bytes(b"x" * size)
    return path
