"""Names and paths that another system does not take, told before the first byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import Settings
from qwen_fetch.cache import disk
from qwen_fetch.cache.disk import unfit
from qwen_fetch.cache.store import Store
from qwen_fetch.routines.preflight import check_names

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "c" * 40


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("vae/con.json", "device"),
        ("AUX", "device"),
        ("lpt1/x", "device"),
        ("com¹.bin", "device"),
        ("notes.", "at its end"),
        ("a /b", "at its end"),
        ("what?.txt", "character"),
    ],
)
def test_what_windows_does_not_take(path: str, why: str) -> None:
    found = unfit(["config.json", path], windows=True, case=True, name=255)
    assert found is not None
    assert found[0] == path
    assert why in found[1]
    assert unfit(["config.json", path], windows=False, case=True, name=255) is None


def test_ordinary_names_pass() -> None:
    names = ["vae/config.json", ".gitattributes", "console.txt", "com.bin", "lpt10", "a.b.c", "中/é"]
    assert unfit(names, windows=True, case=False, name=255) is None


def test_names_that_differ_in_case_only() -> None:
    found = unfit(["vae/Model.bin", "vae/model.bin"], windows=False, case=False, name=255)
    assert found is not None
    assert "vae/Model.bin" in found[1]
    assert unfit(["vae/Model.bin", "vae/model.bin"], windows=False, case=True, name=255) is None


def test_a_disk_with_short_names() -> None:
    assert unfit(["é" * 100], windows=False, case=True, name=143) is not None
    assert unfit(["e" * 100], windows=False, case=True, name=143) is None


def test_it_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, "owner/name")
    store.repo.mkdir()
    files = [RepoFile("vae/con.json", 1, Digest("sha256", "a" * 64))]
    check_names(Settings(), store, COMMIT, files)
    monkeypatch.setattr(disk, "takes_windows_names_only", lambda _: True)
    with pytest.raises(Problem) as caught:
        check_names(Settings(), store, COMMIT, files)
    assert caught.value.id == "unfit-name"
    assert any("--exclude vae/con.json" in line for line in caught.value.do)


def test_a_path_that_would_become_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, "owner/name")
    store.repo.mkdir()
    files = [RepoFile("vae/" + "x" * 200, 1, Digest("sha256", "a" * 64))]
    longest = len(str(store.pointer(COMMIT, files[0])))
    monkeypatch.setattr(disk, "longest_path", lambda: longest)
    check_names(Settings(), store, COMMIT, files)
    monkeypatch.setattr(disk, "longest_path", lambda: longest - 1)
    with pytest.raises(Problem) as caught:
        check_names(Settings(), store, COMMIT, files)
    assert caught.value.id == "path-too-long"
    assert f"{longest} characters" in caught.value.what
