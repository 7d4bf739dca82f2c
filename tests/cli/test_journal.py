"""The log of a night."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen_fetch.base import catalogue
from qwen_fetch.base.events import Attempt, FileProgress, Note, Progress, Retry, Waiting
from qwen_fetch.base.problem import Problem
from qwen_fetch.cli.journal import Journal


def test_a_night_can_be_told_from_it(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    journal = Journal(tmp_path / "log", lambda: now[0])
    journal(Attempt("vae/x", "xet", 0, 5, 1.5, "stalled: no byte for 30 s"))
    journal(Retry("vae/x", 5, "no byte", 2.0, 1))
    for _ in range(100):
        journal(Progress("download", 5, 10, (FileProgress("vae/x", 5, 10),)))
        journal(Waiting("vae/x is being downloaded by another program"))
        now[0] += 1
    journal(Note("a word"))
    journal.problem(Problem(catalogue.NETWORK, host="h", detail="d", diagnose="x"))
    journal.close()
    lines = (tmp_path / "log").read_text().splitlines()
    names = [line.split()[2] for line in lines]
    assert names == ["attempt", "retry", "progress", "waiting", "progress", "note", "problem"]
    assert 'outcome="stalled: no byte for 30 s"' in lines[0]
    assert all(line[:2] == "20" and line[4] == "-" for line in lines)


def test_an_outage_is_told_with_its_length(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    journal = Journal(tmp_path / "log", lambda: now[0])
    for second in range(754):
        journal(Progress("download", 5, 10, (), f"next try in {second} s", "no network", 5.0))
        now[0] += 1
    journal(Progress("download", 6, 10))
    journal.close()
    lines = [line[20:] for line in (tmp_path / "log").read_text().splitlines() if " outage " in line]
    assert lines == ['outage    reason="no network"', "outage    seconds=754.0"]


def test_it_is_never_emptied(tmp_path: Path) -> None:
    for _ in range(2):
        journal = Journal(tmp_path / "log")
        journal(Note("a word"))
        journal.close()
    assert len((tmp_path / "log").read_text().splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_full_disk_ends_the_log_and_not_the_download() -> None:
    journal = Journal(Path("/dev/full"))
    journal(Note("a word"))
    journal(Note("another"))
    journal.close()
