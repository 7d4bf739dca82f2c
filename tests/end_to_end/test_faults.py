"""The fault matrix: everything that can go wrong on the way, over both transports, and how it ends.

`python -m pytest tests/end_to_end/test_faults.py --matrix docs/faults.md` writes the documentation's table.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from workbench import Ended, OpenHub, Tool

from qwen_fetch.localhub.faults import Fault
from qwen_fetch.localhub.hub import LocalHub
from tests.end_to_end import test_culprits, test_mirrors, test_outages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MB = 1_000_000
SHARD = "transformer/diffusion_pytorch_model-00003-of-00009.safetensors"
TOKEN = "hf_SecretTokenOfTheUser"
SECRETS = (TOKEN, "X-Amz-Signature", "Signature=")


@dataclass
class Row:
    """One thing that goes wrong.

    Attributes:
        name: In words, for the table.
        faults: What the Hub does.
        code: The expected exit code.
        problem: The expected id of the problem; empty when it finishes.
        said: What stderr must mention.
        hub: Options of the Hub.
        arguments: Options of the command.
        environment: Variables of the command.
        meanwhile: What happens while it runs.
        twice: Bytes that may be fetched twice.
        transports: Where it can happen.
    """

    name: str
    faults: tuple[Fault, ...] = ()
    code: int = 0
    problem: str = ""
    said: str = ""
    hub: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    meanwhile: Callable[[Tool, LocalHub, subprocess.Popen[str]], None] | None = None
    twice: int = 4 * MB
    transports: tuple[str, ...] = ("xet", "http")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def the_partial(tool: Tool) -> Path | None:
    for path in tool.blobs.glob("*.incomplete"):
        with suppress(FileNotFoundError):  # it has just been finished
            if path.stat().st_size > 500_000:
                return path
    return None


def bytes_kept(tool: Tool) -> int:
    kept = 0
    for path in tool.blobs.glob("*"):
        with suppress(FileNotFoundError):
            kept += path.stat().st_size
    return kept


def remove_a_partial(tool: Tool, _hub: LocalHub, _process: subprocess.Popen[str]) -> None:
    until(lambda: the_partial(tool) is not None)
    if partial := the_partial(tool):
        partial.unlink(missing_ok=True)


def append_to_a_partial(tool: Tool, _hub: LocalHub, _process: subprocess.Popen[str]) -> None:
    until(lambda: the_partial(tool) is not None)
    if partial := the_partial(tool):
        with suppress(FileNotFoundError):
            # In one step, and without making one that has just got its final name.
            descriptor = os.open(partial, os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, b"not mine")
            os.close(descriptor)


def sleep_like_a_laptop(_tool: Tool, hub: LocalHub, process: subprocess.Popen[str]) -> None:
    until(lambda: hub.log.weight_bytes() > 5 * MB)
    if sys.platform != "win32":
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        process.send_signal(signal.SIGCONT)


def move_main(tool: Tool, hub: LocalHub, _process: subprocess.Popen[str]) -> None:
    until(lambda: hub.log.weight_bytes() > 1 * MB)
    other = tool.home.with_name("v2")
    other.mkdir()
    (other / "README.md").write_text("another\n")
    hub.move_branch("main", hub.add_revision("v2", other))


SLOW = {"line_rate": 12 * MB}
FEW = ("--max-retries", "2")
QUICK_STALL = ("--stall-timeout", "1")
ON_THE_WAY = 20 * MB  # on loopback a whole window is on its way before its header is read and found wrong
HTTP = ("http",)
XET = ("xet",)
IN_FLIGHT = [
    Row(
        "a connection cut every 700 KB (reset)",
        (Fault("any-data", cut_after=700_000, per_connection=True),),
    ),
    Row(
        "the same, closed in good order",
        (Fault("any-data", cut_after=700_000, per_connection=True, reset=False),),
    ),
    Row("20 connections closed before they answer", (Fault("any-data", close_at_once=True, times=20),)),
    Row(
        "20 cuts, 20 resets and 20 times 503 that each gain some bytes",
        (
            Fault("any-data", cut_after=200_000, times=20, reset=False),
            Fault("any-data", cut_after=200_000, times=20, skip=20),
            Fault("any-data", status=503, times=20, skip=7),
        ),
    ),
    Row("one silent connection", (Fault("any-data", silent_after=300_000, times=1),), arguments=QUICK_STALL),
    Row("one dribbling connection", (Fault("any-data", slow=300, times=1),), arguments=QUICK_STALL),
    Row("503 three times", (Fault("any-data", status=503, times=3),)),
    Row("503 for ever", (Fault("any-data", status=503),), 4, "hub-outage", arguments=FEW),
    Row("429 three times, with Retry-After", (Fault("any-data", status=429, headers={"Retry-After": "1"}, times=3),)),
    Row("429 for ever", (Fault("any-data", status=429),), 4, "rate-limited", arguments=FEW),
    Row("a signed address refused three times (403)", (Fault("any-data", status=403, times=3),)),
    Row("every signed address refused", (Fault("any-data", status=403),), 4, "data-host-blocked", arguments=FEW),
    Row("signed addresses that expire after a second", hub={"url_lifetime": 1.0, "line_rate": 12 * MB}),
    Row(
        "another range than asked for, twice",
        (Fault("cdn", wrong_range=100, times=2),),
        transports=HTTP,
        twice=ON_THE_WAY,
    ),
    Row(
        "another range for ever",
        (Fault("cdn", wrong_range=100),),
        4,
        "not-the-file",
        arguments=FEW,
        transports=HTTP,
        twice=ON_THE_WAY,
    ),
    Row("200 instead of 206", (Fault("cdn", ignore_range=True),), transports=HTTP),
    Row(
        "another length than listed, twice",
        (Fault("cdn", wrong_length=12345, times=2),),
        transports=HTTP,
        twice=ON_THE_WAY,
    ),
    Row(
        "another length for ever",
        (Fault("cdn", wrong_length=12345),),
        4,
        "not-the-file",
        arguments=FEW,
        transports=HTTP,
        twice=ON_THE_WAY,
    ),
    Row("a page instead of weights, twice", (Fault("any-data", html_page=True, times=2),)),
    Row("a page for ever", (Fault("any-data", html_page=True),), 4, "login-page", arguments=FEW, transports=HTTP),
    Row(
        "a byte flipped on the way",
        (Fault("any-data", path=SHARD, flip_at=100_000, times=1),),
        said="wrong digest",
    ),
    Row(
        "the same byte flipped every time",
        (Fault("any-data", path=SHARD, flip_at=100_000),),
        9,
        "corrupt-content",
        said="wrong digest",
        twice=12 * MB,
    ),
    Row("a broken xorb", (Fault("xorb", corrupt_xorb=True, times=1),), transports=XET, arguments=QUICK_STALL),
    Row("no reconstruction (404)", (Fault("cas", status=404),), transports=XET),
    Row("the CAS out of order (500)", (Fault("cas", status=500),), transports=XET),
    Row("no Xet token (503)", (Fault("token", status=503),), transports=XET),
    Row("the Xet token refused (401)", (Fault("token", status=401),), transports=XET),
    Row("main moves meanwhile", meanwhile=move_main, hub=SLOW),
    Row("the machine sleeps for 3 s", meanwhile=sleep_like_a_laptop, hub=SLOW, arguments=QUICK_STALL),
    Row("somebody removes a partial", meanwhile=remove_a_partial, hub=SLOW),
    Row("somebody appends to a partial", meanwhile=append_to_a_partial, hub=SLOW),
]
AT_THE_DOOR = [
    Row("the API out of order three times (503)", (Fault("api", status=503, times=3),)),
    Row("the API out of order for ever", (Fault("api", status=503),), 4, "hub-outage", arguments=FEW),
    Row("a login page instead of the API", (Fault("api", html_page=True),), 4, "login-page", arguments=FEW),
    Row("the API says nothing", (Fault("api", delay=3),), 4, "network", arguments=("--timeout", "0.5", *FEW)),
    Row(
        "the data host is blocked",
        (Fault("resolve", path="*.safetensors", status=302, headers={"Location": "http://localhost:9/blob"}),),
        4,
        "data-host-blocked",
        arguments=FEW,
        transports=HTTP,
    ),
    Row("a stale token for a public repo", hub={"token": "hf_right", "public": True}, said="trying without it"),
    Row("a stale token for a private repo", (), 5, "bad-token", hub={"token": "hf_right"}, said="from --token"),
    Row("a gated repo", (Fault("api", status=403, headers={"X-Error-Code": "GatedRepo"}),), 5, "gated"),
    Row("an unknown repo", (), 6, "not-found", arguments=("--repo-id", "Qwen/Qwen-Image-Edti")),
    Row("an unknown revision", (), 6, "not-found", arguments=("--revision", "v9")),
    Row("HF_HUB_OFFLINE is set", (), 4, "offline-switch", said="HF_HUB_OFFLINE", environment={"HF_HUB_OFFLINE": "1"}),
    Row(
        "TRANSFORMERS_OFFLINE is set",
        (),
        4,
        "offline-switch",
        said="TRANSFORMERS_OFFLINE",
        environment={"TRANSFORMERS_OFFLINE": "1"},
    ),
    Row("the proxy is down", (), 4, "proxy", arguments=FEW, environment={"HTTP_PROXY": "http://127.0.0.1:9"}),
    Row("REQUESTS_CA_BUNDLE names what was left behind", environment={"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}),
    Row(
        "SSL_CERT_FILE names what is not there",
        code=2,
        problem="certificate-file",
        environment={"SSL_CERT_FILE": "/nowhere/ca.pem"},
    ),
]


class Matrix:
    """The results, as a table."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def add(self, row: Row, transport: str, ended: Ended, kept: int, twice: int, more: float) -> None:
        problem = row.problem or "finishes"
        self.rows.append(
            f"| {row.name} | {transport} | {ended.code} | {problem} | {kept / MB:.1f} | {twice / MB:.2f} | {more:.1f} |"
        )

    def text(self) -> str:
        head = [
            "# The fault matrix",
            "",
            "What goes wrong, over which transport, and how it ends: exit code, problem, MB on disk at the end (of a",
            "repo of 34.7 MB), MB served beyond what is on disk, seconds more than an undisturbed run. One real run of",
            "`python -m pytest tests/end_to_end/test_faults.py --matrix docs/faults.md`, on two cores.",
            "Stall timeout and retries are shortened, so that it takes minutes; on loopback, whole windows are on",
            "their way before an answer that is wrong has been read, and they count as served.",
            "",
            "| what goes wrong | over | exit | problem | kept | twice | seconds |",
            "|---|---|---|---|---|---|---|",
        ]
        return "\n".join([*head, *self.rows, "", *_others(), ""])


def _others() -> Iterator[str]:
    """The rows of the neighbouring tables: how they end is in their tests."""
    yield from ("## Mirrors and ranges", "", "Each is tried with a whole repo (test_mirrors.py).", "")
    yield from ("| how the mirror is | ends with | bytes of weights sent, at most |", "|---|---|---|")
    for name, (_, most) in test_mirrors.WORKS.items():
        yield f"| {name} | everything, right to the byte | {most:g} times the size |"
    for name, (_, code, problem) in test_mirrors.ENDS.items():
        yield f"| {name} | {problem}, exit {code} | {test_mirrors.TWICE:g} times the size |"
    yield from (
        "",
        "## Outages of ten minutes",
        "",
        "It goes on by itself, over HTTP and over Xet (test_outages.py).",
        "",
    )
    yield from ("| what is gone |", "|---|", *(f"| {name} |" for name in test_outages.EVENINGS))
    yield from ("", "## Who is blamed", "", "By the download and by `--diagnose` alike (test_culprits.py).", "")
    yield from ("| what is in the way | problem | exit |", "|---|---|---|")
    for row in test_culprits.TABLE:
        yield f"| {row.name} | {row.problem} | {test_culprits.EXIT.get(row.problem, 4)} |"


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    results = Matrix()
    yield results
    if path := request.config.getoption("--matrix"):
        Path(path).write_text(results.text(), encoding="utf-8")


@pytest.fixture(scope="module")
def clean_seconds(tmp_path_factory: pytest.TempPathFactory, small_repo: Path) -> dict[str, float]:
    """How long an undisturbed run takes, by transport."""
    seconds = {}
    for transport in ("xet", "http"):
        with LocalHub(small_repo, xet=transport == "xet") as hub:
            ended = Tool(tmp_path_factory.mktemp("clean"), hub.endpoint).run()
            assert ended.code == 0, ended
            seconds[transport] = ended.seconds
    return seconds


CASES = [
    pytest.param(row, transport, id=f"{row.name}, {transport}")
    for row in (*IN_FLIGHT, *AT_THE_DOOR)
    for transport in row.transports
    if not (sys.platform == "win32" and row.meanwhile)
]


@pytest.mark.parametrize(("row", "transport"), CASES)
def test_every_fault_has_an_ending_that_helps(
    row: Row,
    transport: str,
    tool: Tool,
    open_hub: OpenHub,
    small_repo: Path,
    matrix: Matrix,
    clean_seconds: dict[str, float],
) -> None:
    hub = open_hub(small_repo, xet=transport == "xet", **row.hub)
    for fault in row.faults:
        hub.faults.add(fault)
    tool.endpoint = hub.endpoint
    tool.extra = row.environment
    log = tool.home.with_name("log.txt")
    began = time.monotonic()
    process = tool.start("--token", TOKEN, "--log", str(log), *row.arguments)
    if row.meanwhile:
        row.meanwhile(tool, hub, process)
    out, err = process.communicate(timeout=100)
    ended = Ended(process.returncode, out, err, time.monotonic() - began)

    assert ended.code == row.code, ended
    assert row.said in err, ended
    assert "Traceback" not in err, ended
    if row.problem:
        assert f"[{row.problem}]" in err, ended
        assert "  do:   " in err, ended
        assert f'"id": "{row.problem}"' in log.read_text() or f'id="{row.problem}"' in log.read_text()
    else:
        assert tool.tree_is(small_repo)
    for text in (out, err, log.read_text() if log.exists() else ""):
        assert not [secret for secret in SECRETS if secret in text], ended
    for request in hub.log.requests():
        at_endpoint = request.kind in {"api", "resolve", "token"}
        assert at_endpoint or TOKEN not in request.headers.get("authorization", ""), request
    kept = bytes_kept(tool)
    twice = max(0, hub.log.weight_bytes() - sum(path.stat().st_size for path in tool.blobs.glob("?" * 64 + "*")))
    matrix.add(row, transport, ended, kept, twice, max(0.0, ended.seconds - clean_seconds[transport]))
    assert twice <= row.twice


def test_requests_do_not_flood_a_hub_that_is_down(tool: Tool, open_hub: OpenHub, small_repo: Path) -> None:
    hub = open_hub(small_repo, xet=False, faults=None)
    tool.endpoint = hub.endpoint
    assert tool.run("--exclude", "*.safetensors", "*/tokenizer.json").code == 0  # what has nothing to do with it
    hub.faults.add(Fault("any-data", status=503))
    ended = tool.run("--max-retries", "4")
    assert ended.code == 4, ended
    # Four connections, four tries each, and a look at the cause at the end.
    assert hub.log.count("any-data") <= 4 * 4 + 2


def test_ten_tries_that_gain_nothing_are_enough(tool: Tool, open_hub: OpenHub, small_repo: Path) -> None:
    hub = open_hub(small_repo, xet=False)
    hub.faults.add(Fault("any-data", cut_after=0))
    tool.endpoint = hub.endpoint
    ended = tool.run("--max-retries", "3", "--max-workers", "1")
    assert ended.code == 4, ended
    assert "3 tries in a row brought no new byte" in ended.err
    assert "the connection broke" in ended.err


def test_waiting_for_the_network_is_said_with_the_time_of_the_next_try(
    tool: Tool, open_hub: OpenHub, small_repo: Path
) -> None:
    hub = open_hub(small_repo, xet=False)
    hub.faults.add(Fault("any-data", status=503))
    tool.endpoint = hub.endpoint
    ended = tool.run("--max-retries", "4", "--progress", "json")
    assert "waiting for the network, next try in" in ended.err


def test_a_dead_hub_and_nothing_here(tool: Tool) -> None:
    ended = tool.run("--max-retries", "2")
    assert ended.code == 4, ended
    assert "[connection-refused]" in ended.err
    assert "127.0.0.1 refuses the connection" in ended.err


def test_a_dead_hub_and_everything_here(tool: Tool, open_hub: OpenHub, small_repo: Path) -> None:
    hub = open_hub(small_repo)
    tool.endpoint = hub.endpoint
    assert tool.run().code == 0
    hub.close()
    ended = tool.run()
    assert ended.code == 0, ended
    assert "cannot be asked" in ended.err
    assert "nothing had to be fetched" in ended.err


def test_a_branch_that_moved_since_the_last_run_is_mentioned(tool: Tool, open_hub: OpenHub, small_repo: Path) -> None:
    hub = open_hub(small_repo)
    tool.endpoint = hub.endpoint
    assert tool.run("--selective", "*.json").code == 0
    other = tool.home.with_name("v2")
    shutil.copytree(small_repo, other)
    (other / "README.md").write_text("changed\n")
    hub.move_branch("main", hub.add_revision("v2", other))
    ended = tool.run()
    assert ended.code == 0, ended
    assert "note: main has moved from" in ended.err
    assert tool.tree_is(other)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 110 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=110m", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("this system does not let itself be given a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("transport", ["xet", "http"])
def test_a_disk_that_fills_up_keeps_what_came_and_says_how_much_is_needed(
    small_disk: Path, open_hub: OpenHub, small_repo: Path, transport: str, matrix: Matrix
) -> None:
    hub = open_hub(small_repo, xet=transport == "xet", line_rate=20 * MB)
    tool = Tool(small_disk / "home", hub.endpoint)
    process = tool.start()
    until(lambda: bytes_kept(tool) > 5 * MB)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError:
            pass
    _, err = process.communicate(timeout=30)
    assert process.returncode == 7, err
    assert "[disk-full]" in err
    assert "are still to come, 0 B are free" in err
    assert "Traceback" not in err
    kept = bytes_kept(tool)
    assert kept > 4 * MB
    matrix.add(Row("the disk fills up", problem="disk-full"), transport, Ended(7, "", err, 0), kept, 0, 0)
    filler.unlink()
    hub.log.clear()
    again = tool.run("--json")
    assert again.code == 0, again
    assert again.json["bytes_fetched"] <= again.json["bytes_total"] - kept + 3 * MB
    assert tool.tree_is(small_repo)


def test_a_disk_that_is_too_small_is_refused_at_once(small_disk: Path, open_hub: OpenHub, small_repo: Path) -> None:
    hub = open_hub(small_repo)
    (small_disk / "filler").write_bytes(bytes(60 << 20))
    ended = Tool(small_disk / "home", hub.endpoint).run()
    assert ended.code == 7, ended
    assert "[no-room]" in ended.err
    assert hub.log.weight_bytes() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="mounts")
def test_a_read_only_disk(small_disk: Path, open_hub: OpenHub, small_repo: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ended = Tool(small_disk / "home", open_hub(small_repo).endpoint).run()
    assert ended.code == 8, ended
    assert "[read-only]" in ended.err
    assert "read-only" in ended.err


@pytest.mark.skipif(sys.platform == "win32", reason="no ulimit")
def test_a_limit_on_the_size_of_files_is_seen_before_the_first_byte(
    tool: Tool, open_hub: OpenHub, small_repo: Path
) -> None:
    hub = open_hub(small_repo)
    tool.endpoint = hub.endpoint
    program = Path(__file__).parents[2] / "tools" / "download_qwen_edit_hub.py"
    ended = tool.run(command=["sh", "-c", f"ulimit -f 2000; exec {sys.executable} {program}"])
    assert ended.code == 8, ended
    assert "[file-too-large]" in ended.err
    assert hub.log.weight_bytes() == 0


def test_a_hub_that_comes_back_is_noticed_before_the_pause_is_over(tool: Tool, small_repo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    tool.endpoint = f"http://127.0.0.1:{port}"
    process = tool.start("--progress", "json")
    assert process.stderr is not None
    waits = 0
    for line in process.stderr:  # until the pauses are long
        waits += '"event": "retry"' in line
        if waits == 4:
            break
    with LocalHub(small_repo, port=port):
        began = time.monotonic()
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert time.monotonic() - began < 3.9  # of a pause of four seconds or more, and the whole download
    assert tool.tree_is(small_repo)


def test_giving_up_is_by_time(tool: Tool) -> None:
    ended = tool.run("--give-up-after", "1s")
    assert ended.code == 4, ended
    assert 1 < ended.seconds < 6
