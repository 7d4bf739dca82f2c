"""Without symlinks, with hard links and without: a weight exists once on the disk, and comes over the line once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from workbench import BIG, SHARD, Bench, Tool

from qwen_fetch.localhub.content import make_repo

if TYPE_CHECKING:
    from workbench import OpenHub

RULES = pytest.mark.parametrize("rules", ["no-symlinks", "no-symlinks no-hard-links"], ids=["NTFS", "exFAT"])
TWIN = "vae/the same once more.safetensors"
DESK = str(Path(__file__).parents[1] / "helpers" / "other_desk")


SMALL = 8000  # bytes: a link written as a file has fewer


def on_disk(folder: Path) -> int:
    """Bytes of the larger files in a folder, those with two names counted once."""
    parts = [part for part in (folder / "blobs", folder / "snapshots") if part.exists()] or [folder]
    there = [path.stat() for part in parts for path in part.rglob("*") if path.is_file()]
    return sum({(one.st_dev, one.st_ino): one.st_size for one in there if one.st_size > SMALL}.values())


@pytest.fixture
def desk(empty: Bench, rules: str) -> Bench:
    empty.tool.extra = {"PYTHONPATH": DESK, "OTHER_DESK": rules}
    return empty


def weights(repo: Path) -> int:
    return sum(path.stat().st_size for path in repo.rglob("*.safetensors"))


def second_commit(bench: Bench, folder: Path) -> Path:
    """The same weights, another README."""
    repo = folder / "v2"
    shutil.copytree(bench.repo, repo)
    (repo / "README.md").write_text("another\n")
    bench.hub.move_branch("main", bench.hub.add_revision("v2", repo))
    return repo


@RULES
def test_a_new_commit_with_the_same_weights_costs_nothing(desk: Bench, tmp_path: Path, rules: str) -> None:
    first = desk.commit
    assert desk.tool.run("-q").code == 0
    assert not [path for path in desk.tool.folder.rglob("*") if path.is_symlink()]
    before = on_disk(desk.tool.folder)
    assert before == on_disk(desk.repo)
    repo = second_commit(desk, tmp_path)
    desk.hub.log.clear()
    ended = desk.tool.run("--json")
    assert ended.code == 0, ended
    assert desk.hub.log.weight_bytes() == 0
    assert on_disk(desk.tool.folder) == before
    assert desk.tool.tree_is(repo)
    assert all(file["verified"] for file in ended.json["files"])
    assert ("moved from the snapshot of" in ended.err) == ("no-hard-links" in rules)

    old = desk.tool.run("--status-only", "--json", "--revision", first)
    if "no-hard-links" not in rules:
        assert old.code == 0, old
        return
    # The old snapshot misses what has moved; it says so, and it comes back without the line.
    assert old.code == 3, old
    assert "0.0 GB" not in old.out
    text = desk.tool.run("--status-only", "--revision", first).out
    assert "in the snapshot of" in text
    assert "0 B to fetch" in text
    assert desk.tool.run("-q", "--revision", first).code == 0
    assert desk.hub.log.weight_bytes() == 0
    assert on_disk(desk.tool.folder) == before


@RULES
def test_what_another_client_left_in_an_old_snapshot_is_proved_and_taken(desk: Bench, tmp_path: Path) -> None:
    assert desk.tool.run("-q").code == 0
    shutil.rmtree(desk.tool.folder / ".qwen-fetch")
    repo = second_commit(desk, tmp_path)
    other = next(desk.tool.folder.glob(f"snapshots/*/{SHARD}"))
    data = bytearray(other.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)  # of the right size, and not what the new commit lists
    desk.hub.log.clear()
    ended = desk.tool.run("--json")
    assert ended.code == 0, ended
    assert f"{SHARD} and other bytes: not used" in ended.err
    assert desk.size(SHARD) <= desk.hub.log.weight_bytes() <= 1.1 * desk.size(SHARD) + 200_000
    assert desk.tool.tree_is(repo)


@RULES
def test_the_same_weight_under_two_paths_is_fetched_once(
    tool: Tool, open_hub: OpenHub, tmp_path: Path, rules: str
) -> None:
    repo = tmp_path / "repo"
    make_repo(repo, scale=0.0001)
    shutil.copy(repo / BIG, repo / TWIN)
    tool.extra = {"PYTHONPATH": DESK, "OTHER_DESK": rules}
    hub = open_hub(repo)
    tool.endpoint = hub.endpoint
    ended = tool.run("--json")
    assert ended.code == 0, ended
    size = (repo / BIG).stat().st_size
    assert hub.log.weight_bytes() <= 1.03 * (weights(repo) - size) + 200_000
    assert tool.tree_is(repo)
    twice = "no-hard-links" in rules  # two paths of one snapshot: nothing else can be done, and it is said first
    assert ("will be copied" in ended.err) == twice
    assert on_disk(tool.folder) == on_disk(repo) - (0 if twice else size)
    assert all(file["verified"] for file in ended.json["files"])

    # One of the two goes: it comes from the other one, whichever that is.
    for gone in (BIG, TWIN):
        (tool.folder / "snapshots" / hub.commit / gone).unlink()
        hub.log.clear()
        assert tool.run("-q").code == 0
        assert hub.log.weight_bytes() == 0
        assert tool.tree_is(repo)


def carried_without_links(source: Path, target: Path) -> None:
    """As a copy onto exFAT leaves it: blobs, and no pointers."""
    shutil.copytree(source, target, ignore=lambda folder, names: [n for n in names if Path(folder, n).is_symlink()])


def carried_through(source: Path, target: Path) -> None:
    """As a copy that follows links leaves it: every weight twice."""
    shutil.copytree(source, target, symlinks=False)


def carried_as_text(source: Path, target: Path) -> None:
    """As an archive or a share may leave it: each link a small file."""
    shutil.copytree(source, target, symlinks=True)
    for number, path in enumerate(sorted(path for path in target.rglob("*") if path.is_symlink())):
        lead = str(path.readlink())
        path.unlink()
        path.write_text(f"XSym\n{len(lead):04d}\n{'0' * 32}\n{lead}\n".ljust(1067) if number % 2 else lead)


@RULES
@pytest.mark.parametrize("way", [carried_without_links, carried_through, carried_as_text], ids=lambda way: way.__name__)
def test_a_cache_from_a_system_with_links_is_understood(desk: Bench, whole_cache: Path, way: object) -> None:
    assert callable(way)
    way(whole_cache, desk.tool.home)
    before = on_disk(desk.tool.folder)
    status = desk.tool.run("--status-only", "--json")
    assert {file["bytes"] for file in status.json["files"]} == {file["size"] for file in status.json["files"]}
    ended = desk.tool.run("--json")
    assert ended.code == 0, ended
    assert desk.hub.log.weight_bytes() == 0
    assert desk.tool.tree_is(desk.repo)
    assert on_disk(desk.tool.folder) == before
    assert not list(desk.tool.folder.glob("blobs/*.incomplete"))
    # And on, to a disk with links.
    desk.tool.extra = {}
    assert desk.tool.run("-q").code == 0
    assert desk.hub.log.weight_bytes() == 0
    assert desk.tool.hf("download", "Qwen/Qwen-Image-Edit").code == 0
    assert desk.hub.log.weight_bytes() == 0


def test_what_has_to_be_copied_needs_room_first(tool: Tool, open_hub: OpenHub, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    make_repo(repo, scale=0.0001)
    for number in range(30):
        shutil.copy(repo / BIG, repo / f"vae/{number}.safetensors")
    tool.extra = {"PYTHONPATH": DESK, "OTHER_DESK": "no-symlinks no-hard-links"}
    tool.endpoint = open_hub(repo).endpoint
    script = tmp_path / "narrow.py"
    free = weights(repo) - 5_000_000 + (64 << 20)
    script.write_text(
        f"from qwen_fetch.cache.store import Store\nStore.free_bytes = {free}\n"
        "import sys\nfrom qwen_fetch.cli.main import main\nsys.exit(main())\n"
    )
    ended = tool.run(command=[sys.executable, str(script)])
    assert ended.code == 7, ended
    assert "of it copied" in ended.err
    assert not list(tool.folder.rglob("*.safetensors"))
