"""Cleanup: what goes, what stays, and why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from workbench import OTHER, REPO, SHARD, Bench


def test_every_kind_goes_and_is_explained(whole: Bench) -> None:
    whole.partial(SHARD).write_bytes(bytes(1000))
    whole.orphan(SHARD).write_bytes(bytes(2000))
    whole.orphan(OTHER, 7).write_bytes(bytes(3000))
    (whole.blobs / "notes.txt").write_text("mine")
    moment = whole.blobs / "tmp_01234567-89ab-cdef-0123-456789abcdef"
    moment.touch()
    os.utime(moment, (1, 1))
    whole.blob(OTHER).unlink()
    lock = whole.tool.cache / ".locks" / whole.tool.folder.name / f"{whole.digest(SHARD)}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    listed = whole.tool.run("--cleanup", "--dry-run")
    assert listed.code == 0, listed
    assert len(list(whole.blobs.glob("*.incomplete"))) == 3
    ended = whole.tool.run("--cleanup", "--yes")
    assert ended.code == 0, ended
    assert ended.out.replace("removed     ", "would remove").splitlines()[:-1] == [
        line.replace("would remove ", "would remove ") for line in listed.out.splitlines()[:-1]
    ]
    for words in ("have to be fetched again", "no Hub client uses it again", "leads to nothing", "nobody holds it"):
        assert words in ended.out
    assert ended.out.splitlines()[-1] == "6.0 KB freed."
    assert not list(whole.blobs.glob("*.incomplete"))
    assert not os.path.lexists(whole.pointer(OTHER))
    assert not moment.exists()
    assert not lock.exists()
    assert (whole.blobs / "notes.txt").exists()
    assert whole.tool.run("-q").code == 0
    whole.check()


def test_what_a_live_client_is_writing_is_left_alone(empty: Bench) -> None:
    empty.hub.line_rate = 1_000_000
    hf = [str(Path(sys.executable).with_name("hf")), "download", REPO]
    with subprocess.Popen(
        hf, env=empty.tool.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        until = time.monotonic() + 30
        while len(list(empty.blobs.glob("*.incomplete"))) < 4 and time.monotonic() < until:
            time.sleep(0.02)
        stray = empty.orphan("vae/diffusion_pytorch_model.safetensors")
        ended = empty.tool.run("--cleanup", "--yes", "--json")
        assert ended.code == 0, ended
        assert not [path for path in ended.json["removed"] if path.endswith(".incomplete")]
        assert len(ended.json["held"]) >= 4
        empty.hub.line_rate = None
        assert process.wait(60) == 0
    assert not stray.exists()
    assert empty.tool.run("-q").code == 0
    empty.check()


def test_no_other_repo_is_touched(whole: Bench) -> None:
    other = whole.tool.cache / "models--Qwen--Qwen-Image"
    shutil.copytree(whole.tool.folder, other, symlinks=True)
    (other / "blobs" / f"{'a' * 64}.0badcafe.incomplete").write_bytes(b"x")
    before = sorted(path.name for path in other.rglob("*"))
    whole.orphan(SHARD).write_bytes(b"x")
    assert whole.tool.run("--cleanup", "--yes").out.count("removed") >= 1
    assert sorted(path.name for path in other.rglob("*")) == before


def test_the_xet_clients_old_files_go_if_asked(whole: Bench) -> None:
    logs = whole.tool.home / "xet" / "logs"
    staging = whole.tool.home / "xet" / "server" / "staging"
    for folder in (logs, staging):
        folder.mkdir(parents=True, exist_ok=True)
    for old in logs.iterdir():
        old.unlink()
    ended_log = logs / "xet_20260101T000000000+0000_4194999.log"
    live_log = logs / f"xet_20260101T000000000+0000_{os.getpid()}.log"
    old_file, new_file = staging / "old", staging / "new"
    for path in (ended_log, live_log, old_file, new_file):
        path.write_bytes(bytes(100))
    os.utime(old_file, (1, 1))
    whole.tool.run("--cleanup", "--yes")
    assert ended_log.exists()
    ended = whole.tool.run("--cleanup", "--yes", "--xet-cache")
    assert ended.code == 0, ended
    assert [path.exists() for path in (ended_log, live_log, old_file, new_file)] == [False, True, False, True]
    assert whole.tool.run("--xet-cache").code == 2
