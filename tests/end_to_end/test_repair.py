"""Quick repair: every kind of damage, what is said about it, what it costs, and that it ends well.

`python -m pytest tests/end_to_end/test_repair.py --table docs/repair.md` writes what was seen as a table.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from workbench import BIG, FIX, KILL, KILLED, OTHER, REPO, SHARD, Bench, Ended, OpenHub, Tool, big_repo

from qwen_fetch.transfer.windows import MAX_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL = "scheduler/scheduler_config.json"
EDGE = 200_000  # bytes that Xet may send twice at the edges of chunks, in a small repo


def replace(path: Path, content: bytes) -> None:
    """As another program would: a new file in the old one's place."""
    path.unlink()
    path.write_bytes(content)


def truncated(bench: Bench) -> int:
    os.truncate(bench.blob(SHARD), bench.size(SHARD) * 6 // 10)
    return bench.size(SHARD) * 4 // 10


def flipped(bench: Bench) -> int:
    with bench.blob(SHARD).open("r+b") as file:
        file.seek(bench.size(SHARD) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    return bench.size(SHARD)


def zeroed(bench: Bench) -> int:
    half = bench.size(SHARD) // 2
    with bench.blob(SHARD).open("r+b") as file:
        file.seek(half)
        file.write(bytes(bench.size(SHARD) - half))
    return bench.size(SHARD) - half


def lfs_pointer(bench: Bench) -> int:
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{bench.digest(SHARD)}\nsize {bench.size(SHARD)}\n"
    replace(bench.blob(SHARD), text.encode())
    return bench.size(SHARD)


def web_page(bench: Bench) -> int:
    page = b"<!DOCTYPE html>\n<html><title>Sign in to the network</title></html>\n"
    replace(bench.blob(SHARD), page.ljust(bench.size(SHARD)))  # even of the right size
    return bench.size(SHARD)


def missing_blob(bench: Bench) -> int:
    bench.blob(SHARD).unlink()
    return bench.size(SHARD)


def wrong_pointer(bench: Bench) -> int:
    pointer = bench.pointer(SHARD)
    pointer.unlink()
    pointer.symlink_to(os.path.relpath(bench.blob(OTHER), pointer.parent))
    return 0


def foreign(bench: Bench) -> int:
    (bench.blobs / "notes.txt").write_text("mine")
    return 0


def missing_small(bench: Bench) -> int:
    bench.pointer(SMALL).unlink()
    bench.blob(SMALL).unlink()
    return bench.size(SMALL)


def broken_ref(bench: Bench) -> int:
    (bench.tool.folder / "refs" / "main").write_bytes(b"\0\0\0\0")
    return 0


def wrong_ref(bench: Bench) -> int:
    (bench.tool.folder / "refs" / "main").write_text("0123456789abcdef" * 2 + "01234567")
    return 0


def no_trees(bench: Bench) -> int:
    shutil.rmtree(bench.tool.folder / "trees")
    return 0


def stale_lock(bench: Bench) -> int:
    lock = bench.tool.cache / ".locks" / bench.tool.folder.name / f"{bench.digest(SHARD)}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("4194999\nsomewhere\n")  # a soft lock of a process that has ended
    lock.with_suffix(".holder").write_text(json.dumps({"pid": 4194999, "host": "somewhere", "since": 0}))
    bench.blob(SHARD).unlink()
    return bench.size(SHARD)


def orphans(bench: Bench) -> int:
    left = 0
    for number in range(4):
        path = SHARD.replace("00003-of", f"0000{number + 1}-of")
        content, size = bench.content(path), bench.size(path)
        bench.blob(path).unlink()
        bench.partial(path).write_bytes(content[: size * 3 // 10])
        bench.orphan(path, 1).write_bytes(content[: size * 5 // 10])
        with bench.orphan(path, 2).open("wb") as sparse:  # Xet: reserved, and written out of order
            sparse.write(content[: size * 7 // 10])
            sparse.seek(size * 9 // 10)
            sparse.write(content[size * 9 // 10 :])
        left += size * 3 // 10
    return left


def custom_cache(bench: Bench) -> int:
    old = bench.tool.home.parent / "models" / "qwen-image-edit" / bench.tool.folder.name
    old.parent.mkdir(parents=True)
    bench.tool.folder.rename(old)
    blobs = sorted((old / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    gone = [path for path in blobs if len(path.name) == 64][::2]
    for path in gone:
        path.unlink()
    names = {path.name for path in gone}
    entries = [bench.hub.entry(path.relative_to(bench.repo).as_posix()) for path in bench.repo.rglob("*.*")]
    return sum(entry.size for entry in entries if entry.etag in names or not entry.is_lfs)


# damage, what status says, what verify says, what fix_download says, how much of the bytes may be fetched
# damage, what status says, what verify says, what fix_download says
DAMAGES: list[tuple[Callable[[Bench], int], str, str, str]] = [
    (truncated, "corrupt    transformer", "instead of", "goes on at byte"),
    (flipped, "never read back", "the wrong digest", "the wrong digest -> fetched"),
    (zeroed, "never read back", "the wrong digest", "goes on at byte"),
    (lfs_pointer, "a Git LFS pointer", "a Git LFS pointer", "-> fetched"),
    (web_page, "a web page", "a web page", "-> fetched"),
    (missing_blob, "missing    ", "its pointer leads to nothing", "its pointer leads to nothing -> fetched"),
    (wrong_pointer, "another file", "another file", "its pointer leads to another file -> linked"),
    (foreign, "leftovers  1 files", "39 of 39 files verified", "notes.txt: 4 B; no Hub client makes such a file"),
    (missing_small, "missing    ", "missing    ", "is missing -> fetched"),
    (broken_ref, "leads to no listing", "39 of 39 files verified", "refs/main: holds no commit"),
    (wrong_ref, "leads to no listing", "39 of 39 files verified", "refs/main: stands for 01234567"),
    (
        no_trees,
        "The Hub's listing is not here",
        "39 of 39 files verified",
        "is missing, so nothing can be said offline",
    ),
    (stale_lock, "missing    ", "its pointer leads to nothing", "lock, "),
    (orphans, "resumes at byte", "4 of 39 files are missing", "goes on at byte"),
    (custom_cache, "missing    ", "39 of 39 files are missing", "taken over from"),
]


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    rows: list[str] = []
    yield rows
    if target := request.config.getoption("--table"):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(
            "# What repair says and does\n\n"
            "One finished download of a 29 MB copy of the repo, damaged in one way each. Written by\n"
            "`python -m pytest tests/end_to_end/test_repair.py --table docs/repair.md`.\n\n"
            "| damage | `--status-only` | `--verify` | `tools/fix_download.py` | damaged or missing | fetched"
            " | `hf cache verify` after |\n|---|---|---|---|---:|---:|---|\n" + "".join(rows)
        )


def said(ended: Ended, part: str, home: Path) -> str:
    """The line that holds `part`, shortened for the table."""
    lines = [line for line in (ended.out + ended.err).splitlines() if part in line]
    assert lines, f"{part!r} is not in\n{ended}"
    line = lines[0].removeprefix("found  ").replace(f"{home.parent}/", "").replace("diffusion_pytorch_model-", "…")
    line = re.sub(r"([0-9a-f]{8})[0-9a-f]{32,56}", r"\1…", line)
    return " ".join(line.replace("|", "\\|").replace("<", "&lt;").split())


def traces(bench: Bench) -> list[tuple[str, int]]:
    """Every file of the cache with the time of its last change; the Xet client's logs are its own business."""
    return sorted((str(path), path.lstat().st_mtime_ns) for path in bench.tool.cache.rglob("*") if path.is_file())


@pytest.mark.parametrize(("damage", "status", "verify", "fix"), DAMAGES, ids=[row[0].__name__ for row in DAMAGES])
def test_damage(
    whole: Bench,
    request: pytest.FixtureRequest,
    table: list[str],
    damage: Callable[[Bench], int],
    status: str,
    verify: str,
    fix: str,
) -> None:
    lost = damage(whole)
    shown = whole.tool.run("--status-only")
    checked = whole.tool.run("--verify")
    before = traces(whole)
    dry = whole.fix("--dry-run", "-q")
    assert said(dry, fix, whole.tool.home)
    assert traces(whole) == before
    whole.hub.log.clear()
    mended = whole.fix()
    assert mended.code == 0, mended
    assert "Complete." in mended.out
    fetched = whole.hub.log.weight_bytes() + sum(
        asked.bytes_sent for asked in whole.hub.log.requests("resolve") if not asked.weight
    )
    assert fetched <= 1.03 * lost + EDGE * bool(lost), mended
    whole.check()
    assert whole.scan() == [0, 1, 0]
    if request.config.getoption("--table"):
        assert whole.tool.hf("cache", "verify", REPO).code == 0
    whole.hub.log.clear()
    again = whole.fix("--json")
    assert again.code == 0, again
    assert again.json["complete"]
    assert len(again.json["findings"]) == (damage is foreign)
    assert whole.hub.log.weight_bytes() == 0
    home = whole.tool.home
    name = damage.__name__.replace("_", " ")
    table.append(
        f"| {name} | {said(shown, status, home)} | {said(checked, verify, home)} | {said(mended, fix, home)} "
        f"| {lost:,} | {fetched:,} | passes |\n"
    )


@pytest.mark.parametrize("xet", [True, False], ids=["xet", "http"])
def test_the_zeroed_second_half_of_a_128_mb_shard_costs_that_half(
    tool: Tool, open_hub: OpenHub, tmp_path: Path, xet: bool
) -> None:
    repo = tmp_path / "repo"
    big_repo(repo, 128_000_000)
    hub = open_hub(repo, xet=xet)
    tool.endpoint = hub.endpoint
    bench = Bench(tool, hub, repo)
    assert tool.run("-q").code == 0
    half = bench.size(BIG) // 2
    with bench.blob(BIG).open("r+b") as file:
        file.seek(half)
        file.write(bytes(bench.size(BIG) - half))
    hub.log.clear()
    ended = bench.fix("-q", "--json")
    assert ended.code == 0, ended
    print(f"{hub.log.weight_bytes():,} bytes of {half:,} damaged ones")
    assert half <= hub.log.weight_bytes() <= half + MAX_WINDOW // 8
    bench.check()


def test_it_can_be_stopped_and_run_again(whole: Bench) -> None:
    for damage in (truncated, orphans, no_trees):
        damage(whole)
    whole.hub.line_rate = 400_000
    stopped = whole.tool.run(command=[sys.executable, str(FIX)], stop_after=2.0, stop_with=KILL)
    assert stopped.code == KILLED
    whole.hub.line_rate = None
    assert whole.fix().code == 0
    whole.check()


def test_offline_it_still_finds_and_keeps(whole: Bench) -> None:
    truncated(whole)
    whole.tool.endpoint = "http://127.0.0.1:9"
    ended = whole.fix("--dry-run", "--json")
    assert ended.code == 3, ended
    assert [finding["subject"] for finding in ended.json["findings"]] == [SHARD]
    # It waits for the network as a download does.
    ended = whole.tool.run(command=[sys.executable, str(FIX)], stop_after=3.0)
    assert ended.code == 143, ended
    assert whole.partial(SHARD).stat().st_size == whole.size(SHARD) * 6 // 10


def test_a_wrong_file_stays_until_the_right_bytes_replace_it(whole: Bench) -> None:
    flipped(whole)
    whole.hub.line_rate = 400_000
    stopped = whole.tool.run(command=[sys.executable, str(FIX)], stop_after=4.0)
    assert stopped.code == 143, stopped
    assert whole.blob(SHARD).stat().st_size == whole.size(SHARD)
    state, received = whole.state(SHARD)
    assert state in {"corrupt", "partial"}  # whether the first window had arrived is a matter of luck
    whole.hub.line_rate = None
    whole.hub.log.clear()
    assert whole.tool.run("-q").code == 0  # a plain download goes on with the mending
    assert whole.hub.log.weight_bytes() <= whole.size(SHARD) - received + EDGE
    whole.check()


def test_unfinished_files_of_another_revision_are_kept(whole: Bench) -> None:
    other = whole.blobs / f"{'e' * 64}.incomplete"
    other.write_bytes(b"x" * 100)
    truncated(whole)
    assert whole.fix().code == 0
    assert other.exists()
