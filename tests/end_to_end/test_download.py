"""The main job through the front door: the real command, the real libraries, the embedded Hub.

With `--scale 0.026` the made-up repo has 1.5 GB, and the figures are those of the README.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from workbench import FULL_SCALE, KILL, KILLED, REPO, SHARD, TOOL, Bench, OpenHub, Tool

from qwen_fetch.localhub.faults import Fault, Faults

if TYPE_CHECKING:
    from qwen_fetch.localhub.hub import LocalHub

BOTH = pytest.mark.parametrize("xet", [True, False], ids=["xet", "http"])
MB = 1_000_000


def connect(tool: Tool, hub: LocalHub) -> None:
    tool.endpoint = hub.endpoint


def repo_bytes(repo: Path) -> int:
    return sum(path.stat().st_size for path in repo.rglob("*") if path.is_file())


def weights(repo: Path) -> int:
    return sum(path.stat().st_size for path in repo.rglob("*.safetensors"))


@BOTH
def test_a_whole_download_is_what_every_other_client_expects(
    tool: Tool, open_hub: OpenHub, repo: Path, xet: bool
) -> None:
    hub = open_hub(xet=xet)
    connect(tool, hub)
    ended = tool.run("--json")
    assert ended.code == 0, ended
    result = ended.json
    assert result["complete"]
    assert result["bytes_total"] == result["bytes_present"] == repo_bytes(repo)
    # Some small files are the same under two paths: fetched once.
    assert result["bytes_fetched"] == sum(path.stat().st_size for path in tool.blobs.iterdir())
    assert Path(result["snapshot_path"]).is_dir()
    assert tool.tree_is(repo)
    assert {request.kind for request in hub.log.requests("any-data")} == {"xorb" if xet else "cdn"}
    assert ended.err.splitlines()[0].startswith(f"{REPO} at main")
    assert "\x1b" not in ended.err
    assert "\r" not in ended.err

    hub.log.clear()
    again = tool.run("--json")
    assert again.code == 0, again
    assert again.json["bytes_fetched"] == 0
    assert hub.log.weight_bytes() == 0
    assert hub.log.count() <= 3, [request.path for request in hub.log.requests()]

    hub.log.clear()
    assert tool.hf("cache", "verify", REPO).code == 0
    assert tool.hf("download", REPO).code == 0
    assert hub.log.weight_bytes() == 0
    listing = "import huggingface_hub as h; i = h.scan_cache_dir(); print(len(i.warnings), len(i.repos))"
    assert tool.run(command=[sys.executable, "-c", listing]).out.split() == ["0", "1"]
    assert not list(tool.blobs.glob("*.incomplete"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("first", "rest"),
    [("auto", "auto"), ("http", "http"), ("auto", "http"), ("http", "auto")],
    ids=["xet", "http", "xet then http", "http then xet"],
)
def test_a_kill_costs_no_more_than_a_second_of_the_line(
    tool: Tool, open_hub: OpenHub, repo: Path, first: str, rest: str, scale: float
) -> None:
    rate, period = (80 * MB, 6.0) if scale >= FULL_SCALE else (30 * MB, 2.0)
    hub = open_hub(line_rate=rate)
    connect(tool, hub)
    kills, transport = 0, first
    while (ended := tool.run("--transport", transport, stop_after=period, stop_with=KILL)).code:
        assert ended.code == KILLED, ended
        kills += 1
        transport = rest
        assert kills < 20
    assert kills >= 2
    assert tool.tree_is(repo)
    twice = hub.log.weight_bytes() - weights(repo)
    print(f"{kills} kills, {twice / MB:.1f} MB fetched twice, {twice / kills / rate:.2f} s of line time per kill")
    assert twice <= kills * rate


@BOTH
def test_the_weights_do_not_wait_for_the_small_files(tool: Tool, open_hub: OpenHub, xet: bool) -> None:
    hub = open_hub(xet=xet, faults=Faults(Fault("resolve", path="model_index.json", delay=1.0)))
    connect(tool, hub)
    assert tool.run().code == 0
    asked = next(request for request in hub.log.requests("resolve") if request.path == "model_index.json")
    assert hub.log.requests("any-data")[0].started < asked.started + 1.0


@BOTH
def test_a_resumed_run_asks_the_hub_three_things_and_one_more_for_each_file(
    tool: Tool, open_hub: OpenHub, xet: bool
) -> None:
    hub = open_hub(xet=xet, line_rate=40 * MB)
    connect(tool, hub)
    assert tool.run(stop_after=2.5).code == 143
    unfinished = [file for file in tool.run("--status-only", "--json").json["files"] if file["state"] != "complete"]
    assert 3 < len(unfinished) < 39
    hub.log.clear()
    hub.line_rate = None
    assert tool.run().code == 0
    asked = [request for request in hub.log.requests() if request.kind in {"api", "resolve", "token"}]
    assert len(asked) <= 3 + len(unfinished), [f"{request.method} {request.path}" for request in asked]


@BOTH
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
def test_a_signal_ends_it_within_two_seconds_and_everything_is_kept(
    tool: Tool, open_hub: OpenHub, xet: bool, number: signal.Signals, code: int
) -> None:
    hub = open_hub(xet=xet, line_rate=20 * MB)
    connect(tool, hub)
    ended = tool.run(stop_after=2.5, stop_with=number)
    assert ended.code == code, ended
    assert ended.seconds < 2
    assert "kept:" in ended.err
    assert "do:   Go on from here: python" in ended.err
    assert "Traceback" not in ended.err
    kept = sum(path.stat().st_size for path in tool.blobs.iterdir())
    assert kept > 10 * MB
    hub.line_rate = None
    hub.log.clear()
    again = tool.run("--json")
    assert again.code == 0, again
    assert again.json["bytes_resumed"] > 0
    # Over Xet the chunks at the edges of windows come twice.
    assert hub.log.weight_bytes() <= 1.03 * (again.json["bytes_total"] - kept) + 1 * MB


@BOTH
def test_a_connection_cut_every_8_mb_costs_less_than_two_percent(
    tool: Tool, open_hub: OpenHub, repo: Path, xet: bool, scale: float
) -> None:
    every = 8 * MB if scale >= FULL_SCALE else 2 * MB
    # The line has a rate, as every line: on loopback the system would take megabytes that a reset throws away.
    hub = open_hub(xet=xet, line_rate=80 * MB, faults=Faults(Fault("any-data", cut_after=every, per_connection=True)))
    connect(tool, hub)
    ended = tool.run()
    assert ended.code == 0, ended
    assert tool.tree_is(repo)
    print(f"{hub.log.weight_bytes() / weights(repo):.4f} of the weights' size served")
    assert hub.log.weight_bytes() <= 1.02 * weights(repo)


@BOTH
def test_one_silent_connection_costs_the_stall_timeout_at_most(
    tool: Tool, open_hub: OpenHub, repo: Path, xet: bool
) -> None:
    hub = open_hub(xet=xet, faults=Faults(Fault("any-data", silent_after=1 * MB, times=1, skip=2)))
    connect(tool, hub)
    clean = Tool(tool.home.with_name("clean"), open_hub(xet=xet).endpoint).run()
    ended = tool.run("--stall-timeout", "3")
    assert ended.code == 0, ended
    assert tool.tree_is(repo)
    assert ended.seconds <= clean.seconds + 3 + 5


@BOTH
def test_a_flipped_byte_is_noticed_said_and_mended(tool: Tool, open_hub: OpenHub, repo: Path, xet: bool) -> None:
    name = "transformer/diffusion_pytorch_model-00003-of-00009.safetensors"
    hub = open_hub(xet=xet, faults=Faults(Fault("any-data", path=name, flip_at=100_000, times=1)))
    connect(tool, hub)
    ended = tool.run()
    assert ended.code == 0, ended
    assert f"{name} arrived with a wrong digest" in ended.err
    assert tool.tree_is(repo)


@BOTH
def test_bytes_that_are_always_wrong_are_never_installed(tool: Tool, open_hub: OpenHub, xet: bool) -> None:
    name = "vae/diffusion_pytorch_model.safetensors"
    hub = open_hub(xet=xet, faults=Faults(Fault("any-data", path=name, flip_at=100_000)))
    connect(tool, hub)
    ended = tool.run()
    assert ended.code == 9, ended
    assert "[corrupt-content]" in ended.err
    status = tool.run("--status-only", "--json").json
    states = {file["path"]: file["state"] for file in status["files"]}
    assert states[name] == "missing"
    assert [state for path, state in states.items() if path.endswith(".safetensors")].count("complete") == 13


# A process of its own starts the command: the peak of a child counts from its parent's, and pytest's is large.
PEAK = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], check=False).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak * (1 if sys.platform == "darwin" else 1024))
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak of a process that has ended")
@BOTH
def test_memory_stays_flat(tool: Tool, open_hub: OpenHub, xet: bool) -> None:
    hub = open_hub(xet=xet)
    connect(tool, hub)
    ended = tool.run("-q", command=[sys.executable, "-c", PEAK, sys.executable, str(TOOL)])
    assert ended.code == 0, ended
    peak = int(ended.out.split()[-1])
    print(f"peak {peak / MB:.0f} MB")
    assert 10 * MB < peak <= 120 * MB


def test_xet_can_be_switched_off_as_for_every_hub_client(tool: Tool, open_hub: OpenHub) -> None:
    hub = open_hub()
    connect(tool, hub)
    tool.extra = {"HF_HUB_DISABLE_XET": "1"}
    assert tool.run("--selective", "vae/*").code == 0
    assert {request.kind for request in hub.log.requests("any-data")} == {"cdn"}
    assert tool.run("--selective", "vae/*", "--force", "--transport", "xet").code == 0
    assert hub.log.count("xorb") > 0


def test_two_runs_at_once_share_the_work(tool: Tool, open_hub: OpenHub, repo: Path) -> None:
    hub = open_hub(line_rate=40 * MB)
    connect(tool, hub)
    first, second = tool.start(), tool.start()
    for process in (first, second):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert tool.tree_is(repo)
    # Windows of slow connections are small, and over Xet each edge of one is sent twice.
    assert hub.log.weight_bytes() <= 1.05 * weights(repo)


def test_a_held_lock_is_named_waited_for_and_left(tool: Tool, open_hub: OpenHub) -> None:
    hub = open_hub()
    connect(tool, hub)
    assert tool.run("--selective", "*.json").code == 0
    commit = (tool.folder / "refs" / "main").read_text()
    tree = json.loads((tool.folder / "trees" / f"{commit}.json").read_text())
    digest = tree["files"]["vae/diffusion_pytorch_model.safetensors"]["lfs_sha256"]
    lock = tool.cache / ".locks" / tool.folder.name / f"{digest}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    hold = "import filelock, sys; x = filelock.FileLock(sys.argv[1]); x.acquire(); print('held', flush=True); input()"
    command = [sys.executable, "-c", hold, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        ended = tool.run("--stall-timeout", "2")
        assert ended.code == 10, ended
        assert "Waiting: vae/diffusion_pytorch_model.safetensors is being downloaded by another program" in ended.err
        if sys.platform == "linux":
            assert f"process {other.pid}" in ended.err
        other.kill()
    assert tool.run().code == 0


def test_progress_counts_everything_that_was_asked_for(whole: Bench) -> None:
    """Not only what this run has to fetch: the header, the bar and the summary speak of the same bytes."""
    whole.blob(SHARD).unlink()
    ended = whole.tool.run("--limit-rate", "2M", "--progress", "json")
    events = [json.loads(line) for line in ended.err.splitlines()]
    total = next(event["bytes_total"] for event in events if event["event"] == "started")
    progress = [event for event in events if event["event"] == "progress" and event["total"]]
    assert {event["total"] for event in progress} == {total}
    assert all(total - whole.size(SHARD) <= event["done"] <= total for event in progress)
