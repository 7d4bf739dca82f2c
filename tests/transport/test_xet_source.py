"""The Xet source against the embedded Hub's store."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from scripted import fetch
from workbench import BIG, REPO, big_repo

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.localhub import Fault, Faults, LocalHub
from qwen_fetch.localhub.xet import CHUNK, HEADER, XORB_CONTENT
from qwen_fetch.transport.endpoint import Endpoint
from qwen_fetch.transport.source import FailureKind, piece_size
from qwen_fetch.transport.xet import Admission, XetSource

if TYPE_CHECKING:
    from pathlib import Path

SIZE = XORB_CONTENT + 4_500_001  # a full xorb, and a part of a second one
STORED = CHUNK + HEADER
TOKEN = "hf_made_up"


@dataclass
class Bench:
    """A Hub, and the file that it has in its store."""

    hub: LocalHub
    content: bytes
    file: RepoFile
    admission: Admission
    stack: ExitStack

    def source(self, stall_timeout: float = 5.0, limit_rate: int | None = None) -> XetSource:
        source = XetSource(self.admission, 5.0, stall_timeout, limit_rate)
        self.stack.callback(source.close)
        return source

    def connections(self, kind: str) -> list[int]:
        """Over which connection each request came, counted from the first one."""
        numbers = [request.connection for request in self.hub.log.requests(kind)]
        order = list(dict.fromkeys(numbers))
        return [order.index(number) for number in numbers]


Open = Callable[..., Bench]


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A repo with one shard that is longer than a xorb."""
    folder = tmp_path_factory.mktemp("xet") / "files"
    big_repo(folder, SIZE)
    return folder, (folder / BIG).read_bytes()


@pytest.fixture
def connect(shard: tuple[Path, bytes]) -> Iterator[Open]:
    """Opens a Hub, and what a source needs to read from it."""
    folder, content = shard
    with ExitStack() as stack:

        def opened(*faults: str, token: str | None = None, **options: Any) -> Bench:
            active = Faults(*(Fault.parse(fault) for fault in faults))
            hub = stack.enter_context(LocalHub(folder, faults=active, **options))
            entry = hub.entry(BIG)
            file = RepoFile(BIG, SIZE, Digest("sha256", entry.etag), entry.xet_hash)
            admission = Admission(Endpoint(hub.endpoint, token, 5.0), REPO, hub.commit)
            return Bench(hub, content, file, admission, stack)

        yield opened


# --- bytes


def test_any_window_is_right_and_costs_a_chunk_at_each_edge_at_most(connect: Open) -> None:
    bench = connect()
    source = bench.source()
    dice = random.Random(1)
    starts = [dice.randrange(SIZE - 1) for _ in range(6)] + [XORB_CONTENT - dice.randrange(500_000) for _ in range(6)]
    windows = [(start, min(SIZE, start + dice.randrange(1, 1_000_000))) for start in starts]
    edge = XORB_CONTENT
    windows += [(0, 1), (SIZE - 1, SIZE), (edge - 1, edge + 1), (edge, edge + CHUNK), (edge - CHUNK, edge)]
    for start, end in windows:
        bench.hub.log.clear()
        got, failure = fetch(source, bench.file, start, end)
        assert failure is None
        assert got == bench.content[start:end]
        runs = bench.hub.log.requests("xorb")
        assert len(runs) == (2 if start < edge < end else 1)
        sent = sum(run.bytes_sent for run in runs)
        chunks = -(-end // CHUNK) - start // CHUNK
        assert end - start < sent <= end - start + chunks * HEADER + 2 * STORED
        assert bench.hub.log.count("cas") == 1


def test_the_whole_file_in_one_window(connect: Open) -> None:
    bench = connect()
    assert fetch(bench.source(), bench.file, 0, SIZE) == (bench.content, None)
    assert bench.hub.log.count("xorb") == 2


def test_bytes_come_as_they_arrive(connect: Open) -> None:
    bench = connect(connection_rate=1e6)
    pieces = bench.source().window(bench.file, 0, 4_000_000)
    assert next(pieces)
    (run,) = bench.hub.log.requests("xorb")
    assert run.bytes_sent < 1_000_000
    pieces.close()


def test_pieces_are_small_where_the_rate_is_limited(connect: Open) -> None:
    bench = connect()
    source = bench.source(limit_rate=1_000_000)
    sizes = [len(piece) for piece in source.window(bench.file, 5, 300_005)]
    assert sum(sizes) == 300_000
    assert max(sizes) <= piece_size(1_000_000) == 20_000


# --- requests


def test_one_token_is_enough_for_all_connections(connect: Open) -> None:
    bench = connect(token=TOKEN)
    bench.hub.token = TOKEN
    windows = [(number * 100_000, number * 100_000 + 50_000) for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(lambda window: fetch(bench.source(), bench.file, *window), windows))
    assert ends == [(bench.content[start:end], None) for start, end in windows]
    (asked,) = bench.hub.log.requests("token")
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert {len(bench.hub.log.requests(kind)) for kind in ("cas", "xorb")} == {8}


def test_each_host_is_connected_to_once(connect: Open) -> None:
    bench = connect()
    source = bench.source()
    for start in range(0, 3_000_000, 1_000_000):
        assert fetch(source, bench.file, start, start + 1_000_000) == (bench.content[start : start + 1_000_000], None)
    assert bench.connections("cas") == [0, 0, 0]
    assert bench.connections("xorb") == [0, 0, 0]


def test_a_window_that_is_left_early_does_not_spoil_the_next(connect: Open) -> None:
    bench = connect()
    source = bench.source()
    pieces = source.window(bench.file, 0, 20_000_000)
    next(pieces)
    pieces.close()
    assert fetch(source, bench.file, 400_000, 500_000) == (bench.content[400_000:500_000], None)
    assert bench.connections("xorb") == [0, 1]  # what was under way is not waited for
    assert bench.connections("cas") == [0, 0]


# --- what goes wrong on the way


@pytest.mark.parametrize("reused", [False, True], ids=["a new connection", "a kept connection"])
@pytest.mark.parametrize("fault", ["cas:silent_after=0", "cas:silent_after=10", "xorb:silent_after=0", "xorb:delay=20"])
def test_silence_is_ended_from_outside_at_once_and_the_source_goes_on(connect: Open, fault: str, reused: bool) -> None:
    bench = connect(f"{fault},times=1,skip={int(reused)}")
    source = bench.source(stall_timeout=20)
    if reused:
        assert fetch(source, bench.file, 0, 100)[1] is None
    kind = fault.partition(":")[0]

    def abort() -> None:
        while bench.hub.log.count(kind) <= reused:
            time.sleep(0.01)
        time.sleep(0.05)
        source.abort()

    thread = threading.Thread(target=abort)
    thread.start()
    began = time.monotonic()
    got, failure = fetch(source, bench.file, 0, 1_000_000)
    thread.join()
    assert time.monotonic() - began < 3
    assert got == b""
    assert failure is not None
    assert (failure.kind, failure.detail) == (FailureKind.STALLED, "Xet: ended from outside")
    assert fetch(source, bench.file, 5, 99) == (bench.content[5:99], None)


def test_an_end_from_outside_is_told_apart_from_a_cut_wherever_it_strikes_first(connect: Open) -> None:
    bench = connect("cas:silent_after=0,times=1")
    source = bench.source()

    def abort() -> None:
        while not bench.hub.log.count("cas"):
            time.sleep(0.01)
        source._service.abort()  # the first half of `abort`: the reader may run before the second

    threading.Thread(target=abort).start()
    _, failure = fetch(source, bench.file, 0, 100)
    assert failure is not None
    assert failure.kind is FailureKind.STALLED


@pytest.mark.parametrize("kind", ["cas", "xorb"])
def test_silence_is_a_stall(connect: Open, kind: str) -> None:
    bench = connect(f"{kind}:silent_after=30,times=1")
    source = bench.source(stall_timeout=0.2)
    got, failure = fetch(source, bench.file, 0, 1_000_000)
    assert failure is not None
    assert (failure.kind, failure.detail) == (FailureKind.STALLED, "Xet: no byte for 0.2 s")
    assert got == bench.content[: len(got)]


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_what_came_before_a_cut_is_good_and_is_not_fetched_again(connect: Open, reset: bool) -> None:
    bench = connect(f"xorb:cut_after=1000000,times=1,reset={int(reset)}")
    source = bench.source()
    got, failure = fetch(source, bench.file, 100_000, 3_000_000)
    assert failure is not None
    assert failure.kind is FailureKind.CUT
    assert got == bench.content[100_000 : 100_000 + len(got)]
    rest, failure = fetch(source, bench.file, 100_000 + len(got), 3_000_000)
    assert failure is None
    assert got + rest == bench.content[100_000:3_000_000]
    # A chunk at each edge and the one that was cut: these come in part for nothing.
    assert bench.hub.log.weight_bytes() <= 2_900_000 + 50 * HEADER + 3 * STORED


def test_a_cut_behind_the_last_byte_that_was_wanted_is_no_failure(connect: Open) -> None:
    bench = connect(f"xorb:cut_after={HEADER + 1000},times=1,reset=0")
    source = bench.source()
    assert fetch(source, bench.file, 0, 1000) == (bench.content[:1000], None)
    assert fetch(source, bench.file, 1000, 2000) == (bench.content[1000:2000], None)


def test_a_chunk_that_is_none_is_refused_at_once(connect: Open) -> None:
    bench = connect("xorb:corrupt_xorb=1,times=1")
    source = bench.source(stall_timeout=30)
    began = time.monotonic()
    got, failure = fetch(source, bench.file, 0, 1_000_000)
    assert time.monotonic() - began < 3
    assert got == b""
    assert failure is not None
    assert failure.kind is FailureKind.NOT_DATA
    assert fetch(source, bench.file, 0, 1_000_000) == (bench.content[:1_000_000], None)


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_refused_is_asked_for_anew(connect: Open, status: int) -> None:
    bench = connect(f"cas:status={status},skip=1,times=1")
    source = bench.source()
    assert fetch(source, bench.file, 0, 100) == (bench.content[:100], None)
    _, failure = fetch(source, bench.file, 0, 100)
    assert failure is not None
    assert failure.kind is FailureKind.REFUSED
    assert bench.hub.log.count("token") == 1
    assert fetch(source, bench.file, 0, 100) == (bench.content[:100], None)
    assert bench.hub.log.count("token") == 2


def test_an_address_that_has_expired_is_asked_for_anew(connect: Open) -> None:
    bench = connect(url_lifetime=-1.0)
    source = bench.source()
    _, failure = fetch(source, bench.file, 0, 100)
    assert failure is not None
    assert failure.kind is FailureKind.REFUSED
    bench.hub.url_lifetime = None
    assert fetch(source, bench.file, 0, 100) == (bench.content[:100], None)
    assert bench.hub.log.count("token") == 1


def test_a_file_that_the_store_does_not_know_is_left_to_the_other_transport(connect: Open) -> None:
    bench = connect()
    source = bench.source()
    _, failure = fetch(source, replace(bench.file, xet_hash="0" * 64), 0, 100)
    assert failure is not None
    assert failure.kind is FailureKind.REFUSED
    assert fetch(source, bench.file, 0, 100) == (bench.content[:100], None)


def test_without_access_there_is_no_token(connect: Open) -> None:
    bench = connect()
    bench.hub.token = TOKEN
    _, failure = fetch(bench.source(), bench.file, 0, 100)
    assert failure is not None
    assert failure.kind is FailureKind.DENIED
    assert not bench.hub.log.count("cas")
