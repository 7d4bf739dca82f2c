"""What each mode of the command does with what is on the disk."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest
from command import SHARD, VAE, damage, digest, flip, lines_without_traceback, tree
from workbench import REPO

from qwen_fetch.cli.main import main

if TYPE_CHECKING:
    from workbench import Tool

    from qwen_fetch.localhub.hub import LocalHub


# --- status


def test_status_of_a_whole_download_with_the_network_down(complete: Tool, tiny_repo: Path, hub: LocalHub) -> None:
    complete.endpoint = "http://127.0.0.1:9"
    before = tree(complete.home)
    ended = complete.run("--status-only")
    assert ended.code == 0, ended
    assert ended.err == ""
    assert ended.out.splitlines()[0] == "Complete."
    report = complete.run("--status-only", "--json").json
    sizes = {
        path.relative_to(tiny_repo).as_posix(): path.stat().st_size for path in tiny_repo.rglob("*") if path.is_file()
    }
    assert report["complete"] is True
    assert report["repo_id"] == REPO
    assert report["revision"] == "main"
    assert report["commit"] == hub.commit
    assert report["cache_dir"] == str(complete.cache)
    assert report["bytes_total"] == report["bytes_present"] == sum(sizes.values())
    assert report["bytes_partial"] == 0
    assert report["leftovers"] == []
    assert report["disk_free"] > 0
    assert report["files"] == [
        {"path": path, "size": size, "state": "complete", "bytes": size, "verified": True}
        for path, size in sorted(sizes.items())
    ]
    assert tree(complete.home) == before


def test_status_of_an_unfinished_download_with_the_network_down(complete: Tool, hub: LocalHub) -> None:
    damage(complete, hub)
    complete.endpoint = "http://127.0.0.1:9"
    ended = complete.run("--status-only", "--json")
    assert ended.code == 3, ended
    assert ended.err == ""
    report = ended.json
    states = {file["path"]: (file["state"], file["bytes"]) for file in report["files"]}
    assert states.pop(VAE) == ("missing", 0)
    assert states.pop(SHARD) == ("partial", 1000)
    assert {state for state, _ in states.values()} == {"complete"}
    assert report["bytes_partial"] == 1000
    assert [(leftover["kind"], leftover["bytes"]) for leftover in report["leftovers"]] == [("orphan", 50)]
    text = complete.run("--status-only")
    assert text.code == 3
    assert f"partial    {SHARD}" in text.out
    assert "resumes at byte 1,000" in text.out
    only = complete.run("--status-only", "--selective", "*.json")
    assert only.code == 0, only


def test_status_of_nothing(tool: Tool) -> None:
    ended = tool.run("--status-only", "--json", "--repo-id", "somebody/something")
    assert ended.code == 3
    assert ended.json["error"]["id"] == "nothing-known"
    assert lines_without_traceback(ended)[0].startswith("error: Nothing is known here about")
    assert not tool.home.exists()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
@pytest.mark.parametrize("mode", ["--status-only", "--cleanup"])
def test_a_cache_that_cannot_be_read_is_a_clear_error(complete: Tool, mode: str) -> None:
    complete.blobs.chmod(0)
    try:
        ended = complete.run(mode)
    finally:
        complete.blobs.chmod(0o755)
    assert ended.code == 8, ended
    assert "[not-allowed]" in lines_without_traceback(ended)[0]


def test_a_fault_of_the_disk_is_a_clear_error_in_every_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error", "/cache")

    monkeypatch.setattr("qwen_fetch.routines.status.status", fail)
    monkeypatch.setattr("qwen_fetch.routines.cleanup.find", fail)
    for mode in ("--status-only", "--cleanup"):
        assert main([mode, "--cache-dir", str(tmp_path)]) == 8
        assert capsys.readouterr().err.startswith(
            "error: The disk cannot read or write /cache (input/output error). [disk-fault]"
        )


# --- cleanup


def leftovers(tool: Tool) -> list[str]:
    return sorted(path.name for path in [*tool.blobs.glob("*.incomplete"), *tool.cache.glob(".locks/*/*")])


def test_cleanup_removes_what_no_snapshot_needs_and_what_nobody_holds(complete: Tool, hub: LocalHub) -> None:
    damage(complete, hub)
    locks = complete.cache / ".locks" / complete.folder.name
    locks.mkdir(parents=True, exist_ok=True)
    held = digest(hub, "transformer/diffusion_pytorch_model-00003-of-00009.safetensors")
    (complete.blobs / f"{held}.incomplete").write_bytes(b"x" * 70)
    (locks / f"{'0' * 64}.lock").touch()
    before = tree(complete.home)

    dry = complete.run("--cleanup", "--dry-run")
    assert dry.code == 0, dry
    assert tree(complete.home) == before
    for kind in ("partial", "orphan", "lock"):
        assert re.search(rf"^would remove +{kind} ", dry.out, re.MULTILINE), dry
    assert dry.out.endswith("0 B freed.\n")

    with filelock.FileLock(locks / f"{held}.lock"):
        ended = complete.run("--cleanup", "--json")
        assert ended.code == 0, ended
        assert leftovers(complete) == sorted([f"{held}.incomplete", f"{held}.lock"])
    result = ended.json
    assert {Path(path).name for path in result["held"]} == {f"{held}.incomplete", f"{held}.lock"}
    assert result["bytes_freed"] == 1050
    assert {one["kind"] for one in result["found"]} == {"partial", "orphan", "lock"}
    assert len(result["removed"]) + len(result["held"]) == len(result["found"])

    assert complete.run("--cleanup").code == 0
    assert leftovers(complete) == []
    # What is complete is not touched.
    status = complete.run("--status-only", "--json").json
    assert {file["state"] for file in status["files"] if file["path"] not in (VAE, SHARD)} == {"complete"}
    assert complete.run("-q").code == 0


def test_cleanup_of_nothing(tool: Tool) -> None:
    ended = tool.run("--cleanup")
    assert (ended.code, ended.out, ended.err) == (0, "0 B freed.\n", "")
    assert not tool.home.exists()


# --- verify


def test_verify_finds_a_flipped_byte_and_force_mends_it(complete: Tool, hub: LocalHub, tiny_repo: Path) -> None:
    good = complete.run("--verify", "--json")
    assert good.code == 0, good
    assert all(file["verified"] is True for file in good.json["files"])
    flip(complete.blobs / digest(hub, VAE))
    for endpoint in (hub.endpoint, "http://127.0.0.1:9"):
        complete.endpoint = endpoint
        bad = complete.run("--verify", "--timeout", "3")
        assert bad.code == 9, bad
        assert f"corrupt   {(tiny_repo / VAE).stat().st_size / 1000:>6.1f} KB  {VAE}" in bad.out
        assert bad.out.count("verified  ") == len(good.json["files"]) - 1
        assert "[verify-failed]" in bad.err
        assert "do:   Fetch just these again: python" in bad.err
        assert "cannot be asked" in bad.err or endpoint == hub.endpoint
    complete.endpoint = hub.endpoint
    hub.log.clear()
    mended = complete.run("--force", "--selective", VAE, "--json")
    assert mended.code == 0, mended
    assert mended.json["bytes_fetched"] == (tiny_repo / VAE).stat().st_size
    assert {request.path for request in hub.log.requests("any-data")} == {VAE}
    assert complete.run("--verify").code == 0
    assert complete.tree_is(tiny_repo)


def test_verify_of_an_unfinished_download_is_not_complete(complete: Tool, hub: LocalHub) -> None:
    damage(complete, hub)
    ended = complete.run("--verify", "--json")
    assert ended.code == 3, ended
    assert "2 of" in ended.err
    states = {file["verified"] for file in json.JSONDecoder().raw_decode(ended.out)[0]["files"]}
    assert states == {True, None}


def test_with_json_stdout_is_one_object_even_when_it_ends_badly(complete: Tool, hub: LocalHub) -> None:
    flip(complete.blobs / digest(hub, VAE))
    ended = complete.run("--verify", "--json")
    assert ended.code == 9
    result = ended.json  # fails where there are two
    assert result["error"]["id"] == "verify-failed"
    assert [file["path"] for file in result["files"] if file["verified"] is False] == [VAE]


# --- download


def test_no_resume_starts_partials_again_and_leaves_what_is_finished(
    complete: Tool, hub: LocalHub, tiny_repo: Path
) -> None:
    damage(complete, hub)
    hub.log.clear()
    ended = complete.run("--no-resume", "--json")
    assert ended.code == 0, ended
    assert ended.json["bytes_resumed"] == 0
    assert ended.json["bytes_fetched"] == sum((tiny_repo / path).stat().st_size for path in (VAE, SHARD))
    assert {request.path for request in hub.log.requests("any-data")} == {VAE, SHARD}
    assert "1,000 bytes thrown away, as asked" in ended.err
    assert complete.tree_is(tiny_repo)


def test_resume_goes_on_at_the_byte_where_it_stopped(complete: Tool, hub: LocalHub, tiny_repo: Path) -> None:
    damage(complete, hub)
    ended = complete.run("--transport", "http", "--json", "--resume")
    assert ended.code == 0, ended
    assert ended.json["bytes_resumed"] == 1000
    sizes = [(tiny_repo / path).stat().st_size for path in (VAE, SHARD)]
    assert ended.json["bytes_fetched"] == sum(sizes) - 1000
    assert complete.tree_is(tiny_repo)


def test_only_what_is_wanted(online: Tool, hub: LocalHub) -> None:
    ended = online.run("--selective", "vae/*", "*.json", "--exclude", "*index*", "tokenizer/", "--json")
    assert ended.code == 0, ended
    paths = [file["path"] for file in ended.json["files"]]
    assert VAE in paths
    assert "model_index.json" not in paths
    assert "scheduler/scheduler_config.json" in paths
    assert not [path for path in paths if path.startswith("tokenizer/")]
    assert {request.path for request in hub.log.requests("any-data")} <= {VAE, "processor/tokenizer.json"}


@pytest.mark.parametrize("mode", [[], ["--dry-run"], ["--verify"], ["--status-only"]], ids=str)
def test_no_match_lists_what_there_is(complete: Tool, tiny_repo: Path, mode: list[str]) -> None:
    ended = complete.run(*mode, "--selective", "*.bin")
    assert (ended.code, ended.out) == (2, ""), ended
    assert "[no-match]" in "\n".join(lines_without_traceback(ended))
    for path in tiny_repo.rglob("*.safetensors"):
        assert path.relative_to(tiny_repo).as_posix() in ended.err


def test_a_dry_run_changes_nothing(online: Tool, hub: LocalHub, tiny_repo: Path) -> None:
    ended = online.run("--dry-run")
    assert ended.code == 0, ended
    assert not online.home.exists()
    weights = [path.relative_to(tiny_repo).as_posix() for path in tiny_repo.rglob("*.safetensors")]
    for path in weights:
        assert re.search(rf"^fetch .* {re.escape(path)}$", ended.out, re.MULTILINE)
    assert hub.log.count("any-data") == 0

    assert online.run("-q").code == 0
    damage(online, hub)
    before = tree(online.home)
    dry = online.run("--dry-run")
    assert re.search(rf"^resume .* {re.escape(SHARD)}$", dry.out, re.MULTILINE)
    assert re.search(rf"^fetch .* {re.escape(VAE)}$", dry.out, re.MULTILINE)
    forced = online.run("--dry-run", "--force", "--json")
    assert forced.code == 0, forced
    assert tree(online.home) == before


def test_a_limit_of_the_rate_holds(online: Tool, hub: LocalHub, tiny_repo: Path) -> None:
    total = sum(path.stat().st_size for path in tiny_repo.rglob("*.safetensors"))
    rate = total / 3
    arguments = ["--selective", "*.safetensors", "--limit-rate", str(int(rate)), "--json", "--transport", "http"]
    ended = online.run(*arguments)
    assert ended.code == 0, ended
    requests = hub.log.requests("any-data")
    seconds = ended.json["seconds"]
    assert requests
    assert total / seconds <= 1.1 * rate, ended
    assert seconds <= 3 * 1.1 + 2  # and the rest of the job
