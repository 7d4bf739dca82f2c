"""Bytes that are on this machine already are taken over, after they have proved right, and not fetched."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench import BIG, REPO, SHARD, Bench, OpenHub, Tool, big_repo

from qwen_fetch.base.events import Event, Note
from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.cache.inspection import filled, received
from qwen_fetch.cache.material import Material, search
from qwen_fetch.cache.memory import Memory, survey
from qwen_fetch.cache.store import OnDisk, Store
from qwen_fetch.transfer import adopt as adopting
from qwen_fetch.transfer.plan import Action, Step, make_plan

BOTH = pytest.mark.parametrize("xet", [True, False], ids=["xet", "http"])
MB = 1_000_000
BLOCK = 4096


def shared(repo: Path) -> list[Path]:
    """The files that the sister repo has too."""
    return [path.relative_to(repo) for part in ("text_encoder", "vae") for path in (repo / part).glob("*.safetensors")]


@BOTH
def test_what_another_repo_of_the_cache_has_is_not_fetched(
    tool: Tool, open_hub: OpenHub, small_repo: Path, tmp_path: Path, xet: bool
) -> None:
    sister = tmp_path / "sister"
    for path in shared(small_repo):
        (sister / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small_repo / path, sister / path)
    other = Tool(tool.home, open_hub(sister, repo_id="Qwen/Qwen-Image", xet=xet).endpoint)
    assert other.hf("download", "Qwen/Qwen-Image").code == 0
    blobs = list((tool.cache / "models--Qwen--Qwen-Image" / "blobs").iterdir())
    # Over Xet they lie in the client's shared store, except for one or two when its threads get in each other's way.
    assert any(path.is_symlink() for path in blobs) == xet

    hub = open_hub(small_repo, xet=xet)
    tool.endpoint = hub.endpoint
    there = sum((sister / path).stat().st_size for path in shared(small_repo))
    ended = tool.run("--json")
    assert ended.code == 0, ended
    assert ended.json["bytes_adopted"] == there
    assert f"{there / MB:.1f} MB already on this machine" in ended.err.splitlines()[0]
    if not xet:  # there, the log has the names of blocks instead of files
        assert not {path.as_posix() for path in shared(small_repo)} & {r.path for r in hub.log.requests("any-data")}
    bench = Bench(tool, hub, small_repo)
    everything = sum(path.stat().st_size for path in small_repo.rglob("*") if path.is_file())
    assert hub.log.weight_bytes() <= 1.03 * (everything - there) + 200_000

    assert other.hf("cache", "rm", "model/Qwen/Qwen-Image", "-y").code == 0
    assert not (tool.cache / "models--Qwen--Qwen-Image").exists()
    bench.check()
    assert bench.scan() == [0, 1, 0]


def on_disk(path: Path) -> int:
    """Bytes that a file takes; where the system does not tell, those it would without holes."""
    status = path.stat()
    return int(getattr(status, "st_blocks", -(-status.st_size // 512))) * 512


def unfinished(bench: Bench) -> int:
    """Bytes that unfinished files hold on the disk, holes not counted."""
    held = 0
    for path in bench.blobs.glob("*.incomplete"):
        with suppress(FileNotFoundError):  # finished meanwhile
            held += on_disk(path)
    return held


def kill_hf(bench: Bench, *, when: int) -> None:
    """Kill the real client as soon as its unfinished files hold that many bytes."""
    hf = [str(Path(sys.executable).with_name("hf")), "download", REPO]
    with subprocess.Popen(
        hf, env=bench.tool.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        until = time.monotonic() + 30
        while unfinished(bench) < when and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
    assert unfinished(bench) >= when


@BOTH
def test_what_a_killed_hub_client_left_is_used_as_far_as_it_is_good(
    tool: Tool, open_hub: OpenHub, tmp_path: Path, xet: bool
) -> None:
    repo = tmp_path / "repo"
    big_repo(repo, 160 * MB)
    # A block of 65 MB comes at once over Xet, and 10 MiB over HTTP.
    hub = open_hub(repo, xet=xet, line_rate=80 * MB)
    tool.endpoint = hub.endpoint
    bench = Bench(tool, hub, repo)
    kill_hf(bench, when=20 * MB)
    (orphan,) = (path for path in bench.blobs.glob(f"{bench.digest(BIG)}.*.incomplete"))
    good = received(orphan)
    assert good > 10 * MB
    with orphan.open("rb") as held, (repo / BIG).open("rb") as right:
        assert all(held.read(MB) == right.read(MB) for _ in range(good // MB))
    hub.line_rate = None
    hub.log.clear()
    ended = tool.run("--json")
    assert ended.code == 0, ended
    print(f"{good:,} bytes of the orphan used, {hub.log.weight_bytes():,} fetched")
    assert ended.json["bytes_adopted"] >= good
    assert hub.log.weight_bytes() <= 1.03 * (ended.json["bytes_total"] - good) + 200_000
    bench.check()
    assert not list(bench.blobs.glob("*.incomplete"))


def local_dir(bench: Bench, folder: Path) -> None:
    assert bench.tool.hf("download", REPO, "--local-dir", str(folder)).code == 0


def git_clone(bench: Bench, folder: Path) -> None:
    """Pointers in the work tree, and what was fetched so far in git-lfs' own store."""
    for path in bench.repo.rglob("*.safetensors"):
        digest = bench.digest(path.relative_to(bench.repo).as_posix())
        store = folder / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4]
        store.mkdir(parents=True)
        shutil.copy(path, store / digest)


def other_names(bench: Bench, folder: Path) -> None:
    """As wget or a browser names them, next to files of the same size that hold something else."""
    for number, path in enumerate(sorted(bench.repo.rglob("*.safetensors"))):
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / f"download ({number})")
        (folder / f"a-{number}.bin").write_bytes(bytes(path.stat().st_size))


def old_cache(bench: Bench, folder: Path) -> None:
    """A custom cache_dir of the client before 1.18: half the files, and a partial."""
    blobs = folder / bench.tool.folder.name / "blobs"
    blobs.mkdir(parents=True)
    for path in bench.repo.rglob("*.safetensors"):
        name = path.relative_to(bench.repo).as_posix()
        if name != SHARD:
            shutil.copy(path, blobs / bench.digest(name))
    (blobs / f"{bench.digest(SHARD)}.incomplete").write_bytes(bench.content(SHARD)[: bench.size(SHARD) // 2])


@pytest.mark.parametrize("way", [local_dir, git_clone, other_names, old_cache], ids=lambda way: way.__name__)
def test_folders_that_the_user_names(empty: Bench, tmp_path: Path, way: object) -> None:
    folder = tmp_path / "from a friend"
    assert callable(way)
    way(empty, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    empty.hub.log.clear()
    ended = empty.tool.run("--json", "--adopt", str(folder))
    assert ended.code == 0, ended
    weights = sum(path.stat().st_size for path in empty.repo.rglob("*.safetensors"))
    left = empty.size(SHARD) // 2 if way is old_cache else 0
    assert ended.json["bytes_adopted"] >= weights - left - 1
    assert empty.hub.log.weight_bytes() <= 1.03 * left + 200_000
    if way is other_names:
        assert "and other bytes: not used" in ended.err
    shutil.rmtree(folder)
    empty.check()
    assert before


def test_a_dry_run_says_what_is_here_and_changes_nothing(empty: Bench, tmp_path: Path) -> None:
    git_clone(empty, tmp_path / "clone")
    ended = empty.tool.run("--dry-run", "--adopt", str(tmp_path / "clone"))
    assert ended.code == 0, ended
    assert ended.out.count("adopt ") == 14
    assert "34.6 MB on this machine, 28.4 KB to fetch" in ended.out
    assert not empty.tool.cache.exists()


# --- without the front door: what a real disk only does now and then

NAME = "shard.bin"
CONTENT = bytes(range(1, 251)) * 4000
FILE = RepoFile(NAME, len(CONTENT), Digest("sha256", hashlib.sha256(CONTENT).hexdigest()))
COMMIT = "c" * 40


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "hub", "O/N")
    store.blobs.mkdir(parents=True)
    return store


def run_adopt(store: Store, folder: Path) -> tuple[dict[str, int], list[Event]]:
    memory = Memory(store)
    disk = survey(store, memory, COMMIT, [FILE])
    plan = make_plan([FILE], disk, search(store, COMMIT, [FILE], disk, [folder], memory))
    events: list[Event] = []
    return adopting.adopt(store, COMMIT, plan.steps, memory, events.append, lambda: None), events


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As between two disks."""
    monkeypatch.setattr("qwen_fetch.cache.disk.clone", lambda *_: False)
    monkeypatch.setattr("qwen_fetch.cache.disk.share", lambda *_, **__: "")


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize("prefix", [b"", CONTENT[:300_000], b"wrong" * 1000], ids=["nothing", "a prefix", "wrong"])
def test_between_two_disks_it_is_copied_after_what_is_there(store: Store, tmp_path: Path, prefix: bytes) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "x").write_bytes(CONTENT)
    if prefix:
        store.partial(FILE).write_bytes(prefix)
    gained, _ = run_adopt(store, tmp_path / "copy")
    assert gained == {NAME: len(CONTENT)}
    assert store.blob(FILE).read_bytes() == CONTENT
    assert [path.name for path in store.blobs.iterdir()] == [FILE.digest.hex]


@pytest.mark.parametrize("damage", ["", "flip"])
def test_hard_links_are_made_of_proved_files_only(store: Store, tmp_path: Path, damage: str) -> None:
    (tmp_path / "copy").mkdir()
    source = tmp_path / "copy" / "x"
    source.write_bytes(CONTENT if not damage else CONTENT[:-1] + b"\0")
    gained, events = run_adopt(store, tmp_path / "copy")
    assert gained == {NAME: 0 if damage else len(CONTENT)}
    assert store.blob(FILE).exists() == (not damage)
    assert any(isinstance(event, Note) and "not used" in event.text for event in events) == bool(damage)


def test_an_orphan_that_contradicts_the_partial_is_not_used(store: Store, tmp_path: Path) -> None:
    store.partial(FILE).write_bytes(CONTENT[:1000])
    store.spare_name(FILE).write_bytes(b"\xff" + CONTENT[1:5000])
    gained, _ = run_adopt(store, tmp_path / "none")
    assert gained == {NAME: 0}
    assert store.partial(FILE).read_bytes() == CONTENT[:1000]


def test_a_damaged_blob_that_others_share_is_not_cut(store: Store, tmp_path: Path) -> None:
    """A hard link of it may lie in another repo, or be the user's own file."""
    twin = tmp_path / "twin"
    twin.write_bytes(CONTENT[:5000])
    os.link(twin, store.blob(FILE))
    gained, _ = run_adopt(store, tmp_path / "none")
    assert gained == {NAME: 5000}
    assert twin.read_bytes() == CONTENT[:5000]
    assert store.partial(FILE).read_bytes() == CONTENT[:5000]


@pytest.mark.parametrize("page", [b"<html><body>", b"version https://git-lfs.github.com/spec/v1\n", b'{"error":"x"}'])
def test_a_page_is_no_beginning(store: Store, tmp_path: Path, page: bytes) -> None:
    store.spare_name(FILE).write_bytes(page)
    assert run_adopt(store, tmp_path / "none")[0] == {}


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(
        st.tuples(st.integers(2, 20), st.integers(1, 20 * BLOCK)),  # a gap in blocks, then bytes written
        max_size=4,
    ),
    first=st.integers(0, 20 * BLOCK),
)
def test_nothing_counts_as_received_that_was_not_written(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[int, int]], first: int
) -> None:
    path = tmp_path_factory.mktemp("holes") / "x"
    with path.open("wb") as file:
        file.write(b"\xff" * first)
        for gap, count in runs:
            file.seek(gap * BLOCK, os.SEEK_CUR)
            file.write(b"\xff" * count)
    if hasattr(os, "SEEK_HOLE") and on_disk(path) < path.stat().st_size:
        assert received(path) == first
    else:
        assert first <= received(path) <= path.stat().st_size


@settings(max_examples=60, deadline=None)
@given(good=st.binary(min_size=1, max_size=3000), zeros=st.integers(0, 3 << 16), rest=st.binary(max_size=3000))
def test_a_run_of_zeros_ends_what_is_filled(
    tmp_path_factory: pytest.TempPathFactory, good: bytes, zeros: int, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("zeros") / "x"
    good, rest = good.rstrip(b"\0") + b"\1", b"\1" + rest + b"\1"
    path.write_bytes(good + bytes(zeros) + rest)
    whole = len(good) + zeros + len(rest)
    assert filled(path) == (len(good) if zeros >= 1 << 16 else whole)


@given(
    blob=st.one_of(st.none(), st.integers(0, 200)),
    partial=st.one_of(st.none(), st.integers(0, 200)),
    wrong=st.booleans(),
    offers=st.lists(st.tuples(st.integers(1, 100), st.booleans()), max_size=4),
    restart=st.booleans(),
    force=st.booleans(),
)
def test_adopting_never_costs_bytes(
    blob: int | None,
    partial: int | None,
    wrong: bool,
    offers: list[tuple[int, bool]],
    restart: bool,
    force: bool,
) -> None:
    file = RepoFile("x", 100, Digest("sha256", "a" * 64))
    disk = {"x": OnDisk(blob=blob, partial=partial, linked=blob == 100, wrong=wrong and blob == 100)}
    material = {"x": [Material(Path("y"), 100 if whole else count, whole=whole) for count, whole in offers]}
    (without,) = make_plan([file], disk, restart=restart, force=force).steps
    (step,) = make_plan([file], disk, material, restart=restart, force=force).steps
    assert without.have <= step.have <= 100
    assert not without.complete or step == without
    if force or (restart and not any(whole for _, whole in offers)):
        assert step == without


@pytest.mark.usefixtures("no_links")
def test_a_stop_in_the_middle_of_a_copy_keeps_what_is_copied(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(CONTENT)
    step = Step(FILE, Action.ADOPT, len(CONTENT), sources=(Material(tmp_path / "x", len(CONTENT), whole=True),))
    store.partial(FILE).write_bytes(CONTENT[:1000])

    def stop_when_copying(count: int) -> None:
        if not count:
            raise KeyboardInterrupt

    adoption = adopting._Adoption(store, COMMIT, step, Memory(store), lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        adoption.run(stop_when_copying)
    assert [path.name for path in store.blobs.iterdir()] == [f"{FILE.digest.hex}.incomplete"]
    assert adoption.run(lambda _: None) == len(CONTENT)
    assert store.blob(FILE).read_bytes() == CONTENT
