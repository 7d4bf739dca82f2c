"""Status: what a person reads in five seconds, and what a program reads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from workbench import OTHER, SHARD, Bench, Tool

from qwen_fetch.listing.known import KNOWN_TREE

if TYPE_CHECKING:
    from pathlib import Path


def test_every_component_has_a_line_and_the_rest_is_told(whole: Bench) -> None:
    whole.partial(SHARD).write_bytes(whole.content(SHARD)[:1_000_000])
    whole.blob(SHARD).unlink()
    whole.blob(OTHER).unlink()
    whole.orphan(OTHER).write_bytes(bytes(5000))
    ended = whole.tool.run("--status-only")
    assert ended.code == 3
    assert ended.err == ""
    lines = ended.out.splitlines()
    assert lines[0].startswith("Not complete: ")
    assert lines[0].endswith(" MB here, 5.0 MB to fetch.")
    rows = [line for line in lines if line.startswith("  ")]
    assert [line.split()[0] for line in rows] == ["text_encoder", "transformer", "vae", "4", "all"]
    assert rows[1].split()[1] == "10/11"
    assert rows[1].endswith("partial")
    assert rows[2].endswith("[####################]    153/153 KB  complete")
    assert max(map(len, rows)) < 80
    text = "\n".join(lines)
    assert "resumes at byte 1,000,000" in text
    assert f"missing    {OTHER}  3.0 MB, its pointer leads to nothing" in text
    assert "leftovers  1 files, 5.0 KB: python" in text
    assert " GB free" in text
    assert lines[-1].startswith("Go on: python")
    unfolded = whole.tool.run("--status-only", "-v").out.splitlines()
    assert sum(line.startswith("  ") for line in unfolded) == 8


def test_a_long_list_is_folded_and_with_v_unfolded(whole: Bench) -> None:
    for blob in whole.tool.blobs.iterdir():
        blob.unlink()
    folded, whole_list = (whole.tool.run("--status-only", *more).out.splitlines() for more in ((), ("-v",)))
    assert len(folded) < 24
    assert any("and 35 more" in line for line in folded)
    assert sum(line.startswith("missing") for line in whole_list) == 39


def test_the_contract_for_programs(whole: Bench) -> None:
    report = whole.status()
    assert set(report) == {
        *("repo_id", "revision", "commit", "cache_dir", "complete", "bytes_total", "bytes_present", "bytes_partial"),
        *("files", "leftovers", "disk_free"),
    }
    assert all(set(file) == {"path", "size", "state", "bytes", "verified"} for file in report["files"])


def test_a_cache_that_an_old_client_made_still_tells(whole: Bench) -> None:
    """No tree, no listing: the index files name the shards, and their headers say how long they are."""
    shutil.rmtree(whole.tool.folder / "trees")
    shutil.rmtree(whole.tool.folder / ".qwen-fetch", ignore_errors=True)
    whole.pointer(SHARD).unlink()
    with whole.blob(OTHER).open("r+b") as file:
        file.truncate(1_000_000)
    ended = whole.tool.run("--status-only")
    assert ended.code == 3, ended
    assert "The Hub's listing is not here" in ended.out
    assert f"missing    {SHARD}" in ended.out
    assert f"corrupt    {OTHER}" in ended.out
    whole.tool.folder.rename(whole.tool.folder.with_name("models--Some--Other"))
    other = whole.tool.run("--status-only", "--repo-id", "Some/Other", "--json").json
    assert {file["path"] for file in other["files"] if file["state"] == "missing"} == {SHARD}


def test_before_the_first_download_the_default_repo_is_known(tool: Tool) -> None:
    ended = tool.run("--status-only")
    assert ended.code == 3
    assert "57.7 GB" in ended.out
    assert "0/11 files" in ended.out
    nothing = tool.run("--status-only", "--repo-id", "Some/Other")
    assert nothing.code == 3
    assert "[nothing-known]" in nothing.err
    assert not tool.home.exists()


def test_the_known_tree_is_that_of_the_hub(small_repo: Path) -> None:
    made = {path.relative_to(small_repo).as_posix() for path in small_repo.rglob("*") if path.is_file()}
    assert set(KNOWN_TREE) == made - {"README.md", ".gitattributes"}
    assert sum(size or 0 for size in KNOWN_TREE.values()) == 57_699_249_390 + 11_421_896


@pytest.mark.skipif(sys.platform == "win32", reason="starting a process costs more there than what is measured")
def test_it_is_instant(whole: Bench) -> None:
    """At most twice a bare Python with json and argparse, and 0.2 s; the best of a few, for the machine is shared."""

    def best(command: list[str]) -> float:
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run(command, env=whole.tool.environment, capture_output=True, check=True)
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    bare = best([sys.executable, "-c", "import json, argparse"])
    status = best([sys.executable, "-m", "qwen_fetch", "--status-only"])
    print(f"bare {bare:.3f} s, status {status:.3f} s")
    assert status <= 2 * bare + 0.2
