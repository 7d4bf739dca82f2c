"""What somebody has planted in the cache: never followed out of it, never waited for, told in one line."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from workbench import FIX, SHARD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workbench import Bench

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes of POSIX")

LOCKS = ".locks/models--Qwen--Qwen-Image-Edit"


def link_file(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "precious")


def link_folder(place: Path, outside: Path) -> None:
    if place.exists():
        shutil.rmtree(place)
    place.symlink_to(outside, target_is_directory=True)


def pipe(place: Path, _: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(place)


def second_name(place: Path, outside: Path) -> None:
    place.hardlink_to(outside / "precious")


def folder(place: Path, _: Path) -> None:
    place.mkdir()


FILES = ["partial", "blob", "lock", "holder", "ref", "tree", "record", "listings", "pointer"]
FOLDERS = ["repo", "blobs", "snapshots", "commit", "vae", "refs", "trees", "own", "locks", ".locks"]
PLANTS: list[tuple[str, Callable[[Path, Path], None]]] = [
    *((place, plant) for place in FILES for plant in (link_file, pipe, second_name, folder)),
    *((place, link_folder) for place in FOLDERS),
]
COMMANDS = {"download": (), "status": ("--status-only",), "verify": ("--verify",), "cleanup": ("--cleanup", "--yes")}


def place_of(bench: Bench, name: str) -> Path:
    repo, digest = bench.tool.folder, bench.digest(SHARD)
    locks = bench.tool.cache / LOCKS
    return {
        "partial": bench.partial(SHARD),
        "blob": bench.blob(SHARD),
        "lock": locks / f"{digest}.lock",
        "holder": locks / f"{digest}.holder",
        "ref": repo / "refs" / "main",
        "tree": repo / "trees" / f"{bench.commit}.json",
        "record": repo / ".qwen-fetch" / "digests.json",
        "listings": repo / ".qwen-fetch" / "listings.json",
        "pointer": bench.pointer(SHARD),
        "repo": repo,
        "blobs": bench.blobs,
        "snapshots": repo / "snapshots",
        "commit": repo / "snapshots" / bench.commit,
        "vae": repo / "snapshots" / bench.commit / "vae",
        "refs": repo / "refs",
        "trees": repo / "trees",
        "own": repo / ".qwen-fetch",
        "locks": locks,
        ".locks": locks.parent,
    }[name]


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    ("name", "plant"), PLANTS, ids=lambda value: value if isinstance(value, str) else value.__name__
)
def test_nothing_outside_is_touched(
    whole: Bench, tmp_path: Path, name: str, plant: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious" * 400_000)  # longer than the shard
    (outside / f"{'a' * 64}.incomplete").write_bytes(b"somebody else's")
    (outside / f"{'a' * 64}.lock").write_bytes(b"theirs")
    before = contents(outside)
    for path in (whole.blob(SHARD), whole.pointer(SHARD)):  # so that there is something to do
        path.unlink()
    place = place_of(whole, name)
    if plant is not link_folder:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
    plant(place, outside)
    for command, arguments in COMMANDS.items():
        ended = whole.tool.run(*arguments, "--max-retries", "1", timeout=20)
        assert ended.code in {0, 3, 8, 9}, (command, ended)
        assert "Traceback" not in ended.err
        assert contents(outside) == before, command
    ended = whole.tool.run(command=[sys.executable, str(FIX)], timeout=20)
    assert ended.code in {0, 3, 8, 9}, ended
    assert contents(outside) == before
    # Without it, all is well again.
    if os.path.lexists(place) and (place.is_symlink() or not place.is_dir()) and ended.code != 0:
        place.unlink()
    elif place.is_dir() and plant is folder:
        place.rmdir()
    assert whole.tool.run("-q").code == 0
    whole.check()
    assert contents(outside) == before
