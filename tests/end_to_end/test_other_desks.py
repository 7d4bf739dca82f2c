"""The whole tour under Windows' rules: what anybody has open keeps its name, no symlinks, and scanners look on."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from workbench import KILL, KILLED, SHARD, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the rules are told from /proc")

DESK = str(Path(__file__).parents[1] / "helpers" / "other_desk")
MB = 1_000_000


@pytest.fixture
def desk(empty: Bench) -> Bench:
    empty.tool.extra = {"PYTHONPATH": DESK, "OTHER_DESK": "held no-symlinks"}
    return empty


@contextmanager
def scanner(folder: Path, seconds: float) -> Iterator[list[str]]:
    """Opens each fresh file it sees, and holds it for so long."""
    seen: list[str] = []
    ended = threading.Event()

    def hold(path: Path) -> None:
        try:
            with path.open("rb"):
                seen.append(path.name)
                ended.wait(seconds)
        except OSError:
            pass  # gone meanwhile

    def look() -> None:
        known: set[Path] = set()
        while not ended.wait(0.02):
            for path in folder.glob("models--*/blobs/*.incomplete"):
                if path not in known:
                    known.add(path)
                    threading.Thread(target=hold, args=(path,)).start()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def test_the_tour(desk: Bench, tmp_path: Path) -> None:
    tool, hub = desk.tool, desk.hub
    hub.line_rate = 8 * MB
    ended = tool.run(stop_after=2.5, stop_with=signal.SIGINT)
    assert ended.code == 130, ended
    ended = tool.run(stop_after=2.0, stop_with=KILL)
    assert ended.code == KILLED, ended
    assert tool.run("--status-only").code == 3
    with_cleanup = tool.start()
    time.sleep(1.0)
    assert tool.run("--cleanup", "--yes").code == 0  # beside a running download: what it holds stays
    hub.line_rate = None
    out, err = with_cleanup.communicate(timeout=60)
    assert with_cleanup.returncode == 0, (out, err)
    desk.check()
    assert not [path for path in tool.folder.rglob("*") if path.is_symlink()]
    assert tool.run("--verify").code == 0
    assert tool.run("--status-only").code == 0
    assert desk.fix().code == 0
    other = tmp_path / "elsewhere"
    shutil.copytree(tool.folder / "snapshots" / desk.commit, other)
    shutil.rmtree(tool.cache)
    hub.log.clear()
    assert tool.run("--adopt", str(other)).code == 0
    assert hub.log.weight_bytes() == 0
    desk.check()
    assert tool.run("--cleanup", "--yes").code == 0


def test_a_scanner_that_holds_every_fresh_file_is_waited_for(desk: Bench) -> None:
    tool = desk.tool
    with scanner(tool.cache, 3.0) as seen:
        ended = tool.run("--json", "--progress", "plain")
    assert ended.code == 0, ended
    assert seen
    assert "is held by" in ended.err
    assert ended.json["bytes_fetched"] <= 1.03 * ended.json["bytes_total"] + 200_000
    assert tool.tree_is(desk.repo)


def test_the_rules_hold(desk: Bench) -> None:
    """Without them, the tests above would show nothing."""
    tool = desk.tool
    assert tool.run("-q").code == 0
    place = tool.folder / "snapshots" / desk.commit / SHARD
    script = (
        "import os, sys\n"
        "with open(sys.argv[1], 'rb'):\n"
        "    for act in (os.replace, os.rename):\n"
        "        try: act(sys.argv[1], sys.argv[1] + 'x')\n"
        "        except PermissionError: print('held')\n"
        "    try: os.unlink(sys.argv[1])\n"
        "    except PermissionError: print('held')\n"
        "try: os.symlink('x', sys.argv[1] + 'y')\n"
        "except OSError: print('none')\n"
    )
    ended = tool.run("-c", script, str(place), command=[sys.executable])
    assert ended.out.split() == ["held", "held", "held", "none"], ended
