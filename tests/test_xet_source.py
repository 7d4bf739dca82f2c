"""The Xet source: the real `hf_xet` against the embedded Hub's store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from conftest import REPO, big_repo

from qwen_fetch.integrity import Digest
from qwen_fetch.localhub.faults import Fault, Faults
from qwen_fetch.localhub.hub import LocalHub
from qwen_fetch.snapshot import RepoFile
from qwen_fetch.sources import Failure, FailureKind
from qwen_fetch.sources.xet import XetSource
from qwen_fetch.windows import MAX_PIECE, Pace

if TYPE_CHECKING:
    from pathlib import Path

PATH = "vae/diffusion_pytorch_model.safetensors"
SIZE = 20_000_000
Open = Callable[..., tuple[XetSource, RepoFile, LocalHub]]


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repo with one shard of 20 MB."""
    folder = tmp_path_factory.mktemp("xet") / "files"
    big_repo(folder, SIZE)
    return folder


@pytest.fixture
def connect(shard: Path) -> Iterator[Open]:
    """Opens a Hub, and a source that has seen a line of the given rate."""
    with ExitStack() as stack:

        def opened(rate: float | None = None, **options: Any) -> tuple[XetSource, RepoFile, LocalHub]:
            hub = stack.enter_context(LocalHub(shard, **options))
            entry = hub.entry(PATH)
            file = RepoFile(PATH, SIZE, Digest("sha256", entry.etag), entry.xet_hash)
            url = f"{hub.endpoint}/api/models/{REPO}/xet-read-token/{hub.commit}"
            source = XetSource(url, None, timeout=5, stall_timeout=5)
            source._pace = Pace(rate, trusted=MAX_PIECE)
            stack.callback(source.close)
            return source, file, hub

        yield opened


def pieces_in_flight() -> int:
    return sum(thread.name == "xet piece" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("rate", "count"),
    [pytest.param(1e9, 3, id="fast: large pieces, one at a time"), pytest.param(2e6, 3, id="slow: one ahead")],
)
def test_a_window_comes_in_order_in_pieces_of_the_same_size(
    connect: Open, shard: Path, rate: float, count: int
) -> None:
    source, file, hub = connect(rate)
    content = (shard / PATH).read_bytes()
    got = list(source.window(file, 3, SIZE - 5))
    assert b"".join(got) == content[3 : SIZE - 5]
    asked = [request for request in hub.log.requests("cas") if request.status == 200]
    assert len(asked) == count
    assert max(map(len, got)) <= MAX_PIECE
    sizes = [
        int(end) - int(start) for start, end in (str(one.range).removeprefix("bytes=").split("-") for one in asked)
    ]
    assert max(sizes) - min(sizes) <= count
    assert b"".join(source.window(file, 0, 10)) == content[:10]  # the session goes on to the next window


def test_the_way_of_the_next_piece_is_asked_for_while_one_arrives(connect: Open) -> None:
    source, file, hub = connect(20e6, connection_rate=20e6)
    window = source.window(file, 0, SIZE)
    next(window)
    # The second piece arrives now; where the third is was asked as soon as the first was here.
    deadline = time.monotonic() + 5
    while len(hub.log.requests("cas")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert sum(map(len, window)) > 0
    came = hub.log.requests("xorb")
    assert all(
        one.started + one.seconds <= other.started for one, other in pairwise(came)
    )  # one at a time all the same


@pytest.mark.parametrize("rate", [1e9, 2e6], ids=["one at a time", "one ahead"])
def test_silence_is_ended_from_outside_at_once_and_the_source_goes_on(connect: Open, shard: Path, rate: float) -> None:
    source, file, hub = connect(rate, faults=Faults(Fault.parse("xorb:silent_after=1000,times=1")))
    ended: list[float] = []

    def abort() -> None:
        while not hub.log.requests("xorb"):
            time.sleep(0.01)
        time.sleep(0.1)
        ended.append(time.monotonic())
        source.abort()

    threading.Thread(target=abort).start()
    with pytest.raises(Failure) as caught:
        list(source.window(file, 0, SIZE))
    assert caught.value.kind is FailureKind.STALLED
    assert time.monotonic() - ended[0] < 1
    assert b"".join(source.window(file, 5, 99)) == (shard / PATH).read_bytes()[5:99]


def test_what_came_before_a_failure_is_good_and_the_source_goes_on(connect: Open, shard: Path) -> None:
    source, file, _ = connect(2e6, faults=Faults(Fault.parse("xorb:status=503,skip=2,times=1")))
    content = (shard / PATH).read_bytes()
    got = bytearray()

    def take() -> None:
        for piece in source.window(file, len(got), SIZE):
            got.extend(piece)

    with pytest.raises(Failure) as caught:
        take()
    assert caught.value.kind is FailureKind.SERVER
    assert 0 < len(got) < SIZE
    take()
    assert bytes(got) == content


def test_a_window_that_is_left_early_leaves_nothing_running(connect: Open, shard: Path) -> None:
    source, file, hub = connect(2e6, connection_rate=40e6)
    window = source.window(file, 0, SIZE)
    next(window)
    hub.connection_rate = 50e3  # what was asked for ahead would take minutes now
    window.close()
    deadline = time.monotonic() + 5
    while pieces_in_flight():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    hub.connection_rate = None
    assert b"".join(source.window(file, 0, 10)) == (shard / PATH).read_bytes()[:10]
