"""A snapshot as it stands, as one value and as JSON."""

from pathlib import Path

import pytest

from qwen_fetch.base.files import RepoFile, Snapshot
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.settings import Settings
from qwen_fetch.cache.store import Store
from qwen_fetch.routines.report import FileState, make_report
from qwen_fetch.routines.status import status_lines

COMMIT = "c" * 40
FILES = tuple(
    RepoFile(name, 100, Digest("sha256", digit * 64))
    for name, digit in (("a", "a"), ("b", "b"), ("c", "c"), ("d", "d"))
)
A, B, C, D = FILES
SNAPSHOT = Snapshot("o/n", "main", COMMIT, FILES)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path, "o/n")
    store.blobs.mkdir(parents=True)
    store.snapshot(COMMIT).mkdir(parents=True)
    store.locks.mkdir(parents=True)
    for file in (A, D):
        store.blob(file).write_bytes(b"x" * (100 if file is A else 7))
        store.pointer(COMMIT, file).symlink_to(store.blob(file))
    store.partial(B).write_bytes(b"x" * 40)
    (store.blobs / f"{'e' * 64}.0123abcd.incomplete").write_bytes(b"x" * 9)
    (store.locks / f"{'a' * 64}.lock").touch()
    return store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(repo_id="o/n", cache_dir=tmp_path)


def test_where_each_file_stands(store: Store, settings: Settings) -> None:
    report = make_report(settings, store, SNAPSHOT, FILES)
    assert [(file.path, file.state, file.bytes, file.verified) for file in report.files] == [
        ("a", FileState.COMPLETE, 100, None),
        ("b", FileState.PARTIAL, 40, None),
        ("c", FileState.MISSING, 0, None),
        ("d", FileState.CORRUPT, 0, None),
    ]
    assert (report.bytes_total, report.bytes_present, report.bytes_partial) == (400, 100, 40)
    assert not report.complete
    # The partial will be continued, and lock files are everybody's.
    assert [(leftover.bytes, leftover.kind) for leftover in report.leftovers] == [(9, "orphan")]


def test_a_partial_that_nobody_will_continue_is_left_over(store: Store, settings: Settings) -> None:
    store.partial(A).write_bytes(b"x" * 3)
    report = make_report(settings, store, SNAPSHOT, [A])
    assert {(leftover.bytes, leftover.kind) for leftover in report.leftovers} == {
        (3, "partial"),
        (9, "orphan"),
        (40, "partial"),
    }
    assert report.complete


def test_what_a_digest_says_counts(store: Store, settings: Settings) -> None:
    good, bad = (make_report(settings, store, SNAPSHOT, [A], {"a": right}) for right in (True, False))
    assert (good.complete, good.files[0].verified) == (True, True)
    assert (bad.complete, bad.files[0].verified, bad.files[0].state) == (False, False, FileState.CORRUPT)


def test_the_contract_of_json(store: Store, settings: Settings) -> None:
    values = make_report(settings, store, SNAPSHOT, FILES).as_json()
    assert list(values) == [
        "repo_id",
        "revision",
        "commit",
        "cache_dir",
        "complete",
        "bytes_total",
        "bytes_present",
        "bytes_partial",
        "files",
        "leftovers",
        "disk_free",
    ]
    assert values["files"][1] == {"path": "b", "size": 100, "state": "partial", "bytes": 40, "verified": None}
    assert set(values["leftovers"][0]) == {"path", "bytes", "kind"}
    assert isinstance(values["disk_free"], int)


def test_the_report_for_people(store: Store, settings: Settings) -> None:
    lines = list(status_lines(make_report(settings, store, SNAPSHOT, FILES), "again"))
    text = "\n".join(lines)
    assert lines[:1] == ["Not complete: 140/400 B here, 1 damaged, 260 B to fetch."]
    assert lines[1].startswith("o/n at main (cccccccc) in ")
    assert any(line.startswith("  all        1/4 files") for line in lines)
    assert "partial    b  40 B of 100 B, resumes at byte 40" in lines
    assert "missing    c  100 B" in lines
    assert "corrupt    d  the stored file has 7 bytes instead of 100" in lines
    assert "leftovers  1 files, 9 B: again --cleanup" in lines
    assert lines[-1] == "Go on: again"
    for columns in (40, 55, 80, 200):
        report = make_report(settings, store, SNAPSHOT, FILES)
        table = [line for line in status_lines(report, "again", columns=columns) if line.startswith("  ")]
        assert all(len(line) <= max(columns, 36) for line in table)
        assert all(("[" in line) == (columns > 53) for line in table)
    assert "Complete." not in text
    last = list(status_lines(make_report(settings, store, SNAPSHOT, [A]), "again"))[-1]
    assert last == "Read it once: again --verify"
