"""Each error of the file system has its own words and its own remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from qwen_fetch.base.problem import ExitCode
from qwen_fetch.base.settings import Settings
from qwen_fetch.cache import disk
from qwen_fetch.diagnosis.translate import problem_of

SETTINGS = Settings(cache_dir=Path("/cache"))
TABLE = {
    "ENOSPC": "disk-full",
    "EDQUOT": "quota",
    "EROFS": "read-only",
    "EACCES": "not-allowed",
    "EPERM": "not-allowed",
    "ENAMETOOLONG": "path-too-long",
    "EMFILE": "too-many-open-files",
    "ENFILE": "too-many-open-files",
    "EIO": "disk-fault",
    "ESTALE": "disk-gone",
    "ENOTCONN": "disk-gone",
    "ENODEV": "disk-gone",
    "EBUSY": "file-held",
    "ETXTBSY": "file-held",
    "EXDEV": "two-disks",
    "EFBIG": "file-too-large",
    "ENOENT": "file-system",
}
WINDOWS = {
    112: "disk-full",
    1295: "quota",
    19: "read-only",
    5: "not-allowed",
    206: "path-too-long",
    1117: "disk-fault",
    1392: "disk-fault",
    21: "disk-gone",
    1167: "disk-gone",
    59: "disk-gone",
    32: "file-held",
    1224: "file-held",
    17: "two-disks",
    225: "taken-for-a-virus",
}


@pytest.mark.parametrize("name", TABLE)
def test_each_number_has_its_words(name: str) -> None:
    number = getattr(errno, name)
    problem = problem_of(OSError(number, os.strerror(number), "/cache/models--x/blobs/abc"), SETTINGS)
    assert problem.id == TABLE[name]
    text = "\n".join(problem.lines())
    assert "{" not in text.replace("{} +", "")
    assert "/cache" in text
    assert problem.kept
    full = problem.id in {"disk-full", "quota", "no-inodes"}
    assert problem.exit_code is (ExitCode.DISK_FULL if full else ExitCode.FILE_SYSTEM)


@pytest.mark.parametrize("number", WINDOWS)
def test_windows_own_number_says_more(number: int) -> None:
    error = OSError(errno.EINVAL, "The parameter is incorrect", "C:\\cache\\x")
    error.__dict__["winerror"] = number
    assert problem_of(error, SETTINGS).id == WINDOWS[number]


def test_a_disk_with_room_and_no_inodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_entries", lambda _: 0)
    problem = problem_of(OSError(errno.ENOSPC, "No space left on device", "/cache/x"), SETTINGS)
    assert problem.id == "no-inodes"
    assert "df -i" in problem.why


@pytest.mark.parametrize(
    ("users", "why", "do"),
    [
        (("root", "me"), "an earlier run with sudo?", "-user root -exec chown"),
        (("colleague", "me"), "It belongs to colleague", "ask colleague"),
        (None, "SELinux", "ls -ldZ"),
    ],
)
def test_what_belongs_to_others_stays_theirs(
    monkeypatch: pytest.MonkeyPatch, users: tuple[str, str] | None, why: str, do: str
) -> None:
    monkeypatch.setattr(disk, "foreign_owner", lambda _: users)
    problem = problem_of(PermissionError(errno.EACCES, "Permission denied", "/cache/x"), SETTINGS)
    assert why in problem.why
    assert do in problem.do[0]
    assert "chown -R" not in "\n".join(problem.lines())


def test_the_place_is_named_where_the_error_does_not_say() -> None:
    problem = problem_of(OSError(errno.EIO, "Input/output error"), SETTINGS, path="/cache/x.incomplete")
    assert "/cache/x.incomplete" in problem.what
    assert "/cache" in problem_of(OSError(errno.EIO, "Input/output error"), SETTINGS).what
