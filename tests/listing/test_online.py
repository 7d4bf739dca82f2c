"""The listing as it comes, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_fetch.base.settings import Settings
from qwen_fetch.listing.online import Online

if TYPE_CHECKING:
    import pytest


def page(*names: str) -> list[dict[str, Any]]:
    return [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]


def test_after_each_page_it_is_said_how_many_files_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = {"type": "directory", "path": "d"}
    pages = [([folder, *page("a", "b")], "cursor=1"), (page("c"), "")]
    monkeypatch.setattr(Online, "_get", lambda *_: pages.pop(0))
    found: list[int] = []
    listed = Online(Settings(), None, found=found.append).tree("c" * 40)
    assert len(listed.files) == 3
    assert found == [2, 3]
