"""Small files go the way of the weights: what goes wrong with them costs no more, and nothing is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from workbench import KILL, KILLED

from qwen_fetch.localhub.content import pseudo_random
from qwen_fetch.localhub.faults import Fault
from qwen_fetch.transfer.windows import MIN_WINDOW

if TYPE_CHECKING:
    from pathlib import Path

    from workbench import OpenHub, Tool

COUNT = 200
BIG = "data/000 big.bin"  # too small for the store of large files, and more than a window
BIG_SIZE = 6_000_000
FEW = ("--max-retries", "3", "--stall-timeout", "1", "--timeout", "2")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of 0 to 12 kB, with names that need quoting, some of them twice; and one of 6 MB."""
    folder = tmp_path_factory.mktemp("many") / "files"
    for number in range(COUNT):
        path = folder / f"part {number % 7}" / f"#{number:03}é%41?.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = b"".join(pseudo_random(f"small {number}", number * 60))
        path.write_bytes(content)
        if number % 10 == 1:
            path.with_suffix(".copy").write_bytes(content)
    (folder / BIG).parent.mkdir()
    (folder / BIG).write_bytes(b"".join(pseudo_random(BIG, BIG_SIZE)))
    return folder


def total(folder: Path) -> int:
    return sum({path.read_bytes(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}.values())


def test_each_is_asked_for_once_and_its_copies_not_at_all(tool: Tool, open_hub: OpenHub, many: Path) -> None:
    hub = open_hub(many)
    tool.endpoint = hub.endpoint
    ended = tool.run("--json")
    assert ended.code == 0, ended
    assert tool.tree_is(many)
    assert ended.json["bytes_fetched"] == total(many)
    asked = hub.log.requests("resolve")
    # The empty one needs no question; the big one is fetched in windows.
    assert len([one for one in asked if one.path != BIG]) == COUNT - 1
    assert {one.method for one in asked} == {"GET"}
    assert tool.hf("cache", "verify", "Qwen/Qwen-Image-Edit").code == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("resolve", cut_after=500, times=40),
        Fault("resolve", cut_after=0, times=12, reset=False),
        Fault("resolve", silent_after=700, times=4),
        Fault("resolve", close_at_once=True, times=12),
        Fault("resolve", path="part*", flip_at=333, times=2),  # a third in a row for one file would end it
        Fault("resolve", status=503, times=8),
        Fault("resolve", status=429, headers={"Retry-After": "0"}, times=8),
        Fault("resolve", html_page=True, times=6),
        Fault("resolve", ignore_range=True),
        Fault("resolve", wrong_range=7, times=6),
    ],
    ids=["cut", "ended", "silent", "closed", "flipped", "503", "429", "pages", "no ranges", "other ranges"],
)
def test_a_fault_of_the_line_costs_what_was_on_the_way(tool: Tool, open_hub: OpenHub, many: Path, fault: Fault) -> None:
    hub = open_hub(many)
    tool.endpoint = hub.endpoint
    hub.faults.add(fault)
    ended = tool.run("--stall-timeout", "1")
    assert ended.code == 0, ended
    assert tool.tree_is(many)
    assert ended.seconds < 15


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (Fault("resolve", path="part 3/*", flip_at=333), 9, "corrupt"),
        (Fault("resolve", path="part 3/*", status=404), 6, "not-found"),
        (Fault("resolve", path="part 3/*", status=403), 5, "access"),
        (Fault("resolve", path="part 3/*", html_page=True), 4, "not-the-file"),
        (Fault("resolve", silent_after=0), 4, "no-progress"),
    ],
    ids=["wrong bytes", "missing", "forbidden", "pages", "silent"],
)
def test_a_fault_that_stays_ends_it_and_what_is_right_is_kept(
    tool: Tool, open_hub: OpenHub, many: Path, fault: Fault, code: int, said: str
) -> None:
    hub = open_hub(many)
    tool.endpoint = hub.endpoint
    hub.faults.add(fault)
    ended = tool.run(*FEW)
    assert ended.code == code, ended
    assert said in ended.err
    assert "Traceback" not in ended.err
    # Nothing that was not proved has a final name.
    right = {hub.entry(path.relative_to(many).as_posix()).etag: path for path in many.rglob("*") if path.is_file()}
    for blob in tool.blobs.glob("*"):
        if blob.suffix != ".incomplete":
            assert blob.read_bytes() == right[blob.name].read_bytes()
    hub.faults.clear()
    assert tool.run().code == 0
    assert tool.tree_is(many)


def test_killed_again_and_again(tool: Tool, open_hub: OpenHub, many: Path) -> None:
    rate = 500_000
    hub = open_hub(many)
    hub.faults.add(Fault("resolve", path=BIG, slow=rate))
    hub.faults.add(Fault("resolve", delay=0.02))
    tool.endpoint = hub.endpoint
    kills = 0
    while (ended := tool.run(stop_after=1.5, stop_with=KILL)).code:
        assert ended.code == KILLED, ended
        kills += 1
        assert kills < 40  # a busy machine is slow to start
    assert kills >= 2
    assert tool.tree_is(many)
    sent = sum(request.bytes_sent for request in hub.log.requests("resolve"))
    # A kill loses what was on the way, and what waited in memory: a window for each connection but the first.
    assert sent - total(many) < kills * 3 * MIN_WINDOW
