"""What is looked at before the first byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.problem import Problem
from qwen_fetch.base.settings import Settings
from qwen_fetch.cache.locks import locks_hold
from qwen_fetch.cache.store import OnDisk, Store
from qwen_fetch.routines import preflight
from qwen_fetch.routines.preflight import check_cache, check_environment, check_room
from qwen_fetch.transfer.plan import make_plan

if TYPE_CHECKING:
    from pathlib import Path

FILE = RepoFile("shard", 5_000_000_000, Digest("sha256", "a" * 64))
VARIABLES = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "HF_HUB_ENABLE_HF_TRANSFER",
)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "owner/name")


@pytest.mark.usefixtures("clean")
def test_nothing_is_said_when_all_is_well(store: Store) -> None:
    assert list(check_environment("https://huggingface.co")) == []
    assert list(check_cache(Settings(cache_dir=store.cache_dir), store)) == []
    assert [path for path in store.repo.rglob("*") if path.is_file()] == []
    assert list(store.locks.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HF_HUB_ENABLE_HF_TRANSFER", "1", "no effect"),
    ],
)
def test_what_has_no_effect_is_said(clean: pytest.MonkeyPatch, variable: str, value: str, said: str) -> None:
    clean.setenv(variable, value)
    (note,) = check_environment("https://huggingface.co")
    assert variable in note
    assert said in note


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_the_offline_switch_is_named(clean: pytest.MonkeyPatch, variable: str) -> None:
    clean.setenv(variable, "1")
    with pytest.raises(Problem, match=variable) as caught:
        list(check_environment("https://huggingface.co"))
    assert caught.value.id == "offline-switch"
    clean.setenv(variable, "0")
    assert list(check_environment("https://huggingface.co")) == []


def test_an_old_client_is_named(clean: pytest.MonkeyPatch) -> None:
    clean.setattr(preflight, "version", lambda name: {"huggingface_hub": "0.36.0"}.get(name, "9.0"))
    (note,) = check_environment("https://huggingface.co")
    assert "huggingface_hub 0.36.0 is older than 2.4" in note


def test_what_does_not_fit_is_refused_with_the_numbers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    other = store.cache_dir / "models--someone--large" / "blobs"
    other.mkdir(parents=True)
    (other / "x").write_bytes(bytes(3_000_000))
    plan = make_plan([FILE], {FILE.path: OnDisk(partial=1_000_000_000)})
    monkeypatch.setattr(Store, "free_bytes", 3_000_000_000)
    with pytest.raises(Problem) as caught:
        list(check_room(Settings(), store, plan))
    text = "\n".join(caught.value.lines())
    assert caught.value.id == "no-room"
    assert "4.0 GB are still to come" in text
    assert "3.0 GB free" in text
    assert "someone/large 3.0 MB" in text
    monkeypatch.setattr(Store, "free_bytes", 5_000_000_000)
    assert list(check_room(Settings(), store, plan)) == []


@pytest.mark.parametrize("entries", [23, 24, None])
def test_a_disk_without_room_for_more_files_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch, entries: int | None
) -> None:
    monkeypatch.setattr(Store, "free_bytes", 10_000_000_000)
    monkeypatch.setattr("qwen_fetch.cache.disk.free_entries", lambda _: entries)
    plan = make_plan([FILE], {FILE.path: OnDisk()})
    if entries == 23:
        with pytest.raises(Problem, match="none for another file") as caught:
            list(check_room(Settings(), store, plan))
        assert caught.value.id == "no-inodes"
    else:
        assert list(check_room(Settings(), store, plan)) == []


def test_a_file_system_for_small_files_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen_fetch.cache.disk.volume.file_system", lambda _: "vfat")
    with pytest.raises(Problem, match=r"cannot hold a file of 5\.0 GB"):
        list(check_room(Settings(), store, make_plan([FILE], {FILE.path: OnDisk()})))


def test_where_locks_do_not_hold_each_machine_has_partials_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locks_hold(store)
    shared = store.partial(FILE)
    monkeypatch.setattr(preflight, "locks_hold", lambda _: False)
    (note,) = check_cache(Settings(cache_dir=store.cache_dir), store)
    assert "kept apart" in note
    own = store.partial(FILE)
    assert own != shared
    own.write_bytes(b"bytes")
    assert Store(store.cache_dir, "owner/name").partial(FILE) == own, "status finds it without asking again"
