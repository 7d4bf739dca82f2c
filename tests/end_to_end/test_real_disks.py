"""Real file systems, mounted for the test, where this user may: the right words, and nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from workbench import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workbench import OpenHub

MB = 1_000_000


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts something on a folder of its own."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a disk")
    places: list[Path] = []

    def mounted(*options: str) -> Path:
        place = tmp_path / f"disk-{len(places)}"
        place.mkdir()
        if subprocess.run(["mount", *options, str(place)], check=False, capture_output=True).returncode:
            pytest.skip(f"this system does not mount {' '.join(options)}")
        places.append(place)
        return place

    yield mounted
    for place in reversed(places):
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    """An image of 160 MB with a file system in it."""

    def made(*command: str) -> Path:
        if not shutil.which(command[0]):
            pytest.skip(f"there is no {command[0]}")
        path = tmp_path / "image"
        with path.open("wb") as file:
            file.truncate(160 * MB)
        subprocess.run([*command, str(path)], check=True, capture_output=True)
        return path

    return made


def test_a_disk_without_inodes_is_refused_at_once(
    mount: Callable[..., Path], open_hub: OpenHub, small_repo: Path
) -> None:
    disk = mount("-t", "tmpfs", "-o", "size=200m,nr_inodes=60", "tmpfs")
    hub = open_hub(small_repo)
    ended = Tool(disk / "home", hub.endpoint).run()
    assert ended.code == 7, ended
    assert "[no-inodes]" in ended.err
    assert hub.log.weight_bytes() == 0


@pytest.mark.parametrize(
    "make",
    [("mkfs.exfat",), ("mkfs.vfat", "-F", "32"), ("mkntfs", "-F", "-Q"), ("mkfs.ext4", "-q", "-F")],
    ids=" ".join,
)
def test_the_tour_and_a_new_mount(
    image: Callable[..., Path],
    mount: Callable[..., Path],
    open_hub: OpenHub,
    small_repo: Path,
    tmp_path: Path,
    make: tuple[str, ...],
) -> None:
    made = image(*make)
    disk = mount("-o", "loop", str(made))
    hub = open_hub(small_repo, line_rate=8 * MB)
    tool = Tool(disk / "home", hub.endpoint)
    assert tool.run(stop_after=2.0).code == 143
    hub.line_rate = None
    assert tool.run("-q").code == 0
    assert tool.tree_is(small_repo)
    subprocess.run(["umount", str(disk)], check=True)
    subprocess.run(["mount", "-o", "loop", str(made), str(disk)], check=True)
    hub.log.clear()
    status = tool.run("--status-only", "--json")
    assert status.code == 0, status
    assert all(file["verified"] for file in status.json["files"]), "what was read is remembered over a mount"
    assert tool.run("-q").code == 0
    repo = tmp_path / "v2"
    shutil.copytree(small_repo, repo)
    (repo / "README.md").write_text("another\n")
    hub.move_branch("main", hub.add_revision("v2", repo))
    assert tool.run("-q").code == 0
    assert hub.log.weight_bytes() == 0
    assert tool.tree_is(repo)


def test_an_overlay(mount: Callable[..., Path], open_hub: OpenHub, small_repo: Path) -> None:
    disk = mount("-t", "tmpfs", "-o", "size=200m", "tmpfs")
    lower, upper, work = (disk / name for name in ("lower", "upper", "work"))
    for folder in (lower, upper, work):
        folder.mkdir()
    hub = open_hub(small_repo)
    assert Tool(lower / "home", hub.endpoint).run("-q").code == 0
    merged = mount("-t", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", "overlay")
    hub.log.clear()
    tool = Tool(merged / "home", hub.endpoint)
    assert tool.run("-q").code == 0
    assert tool.run("--verify").code == 0
    assert hub.log.weight_bytes() == 0
    assert tool.tree_is(small_repo)
