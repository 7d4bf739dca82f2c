"""A partial: a contiguous prefix that only grows at its end, with the right digest whoever hashes which part of it."""

import hashlib
import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.base.problem import Problem
from qwen_fetch.cache.disk import first_hole
from qwen_fetch.cache.partial import Partial

DATA = bytes(i * 31 % 251 for i in range(5000))


def file_of(data: bytes, *, large: bool = True) -> RepoFile:
    if large:
        return RepoFile("shard", len(data), Digest("sha256", hashlib.sha256(data).hexdigest()))
    return RepoFile("config", len(data), Digest("git-sha1", hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()))


FILE = file_of(DATA)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "blobs" / "x.incomplete"


def begun(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("large", [True, False], ids=["sha256", "git-sha1"])
def test_a_file_from_its_first_byte_to_its_last(path: Path, large: bool) -> None:
    partial = Partial(path, file_of(DATA, large=large))
    assert (partial.committed, partial.hashed) == (0, 0)
    for start in range(0, len(DATA), 777):
        assert not partial.is_right()
        partial.append(memoryview(DATA)[start : start + 777])
        assert path.stat().st_size == partial.committed == partial.hashed
    assert partial.is_right()
    partial.flush()
    partial.close()
    partial.close()
    assert path.read_bytes() == DATA


def test_what_the_disk_has_not_stored_for_good_is_known(path: Path) -> None:
    partial = Partial(begun(path, DATA[:1000]), FILE)
    assert partial.unflushed == 1000
    partial.flush()
    partial.append(DATA[1000:1500])
    assert partial.unflushed == 500
    partial.restart()
    assert partial.unflushed == 0
    partial.close()
    partial.flush()  # from another thread that was late: nothing is open any more


def test_an_empty_file_is_right_at_once(path: Path) -> None:
    partial = Partial(path, file_of(b""))
    partial.catch_up()
    assert partial.is_right()
    partial.close()


def test_a_resumed_prefix_is_kept_and_hashed_later(path: Path) -> None:
    partial = Partial(begun(path, DATA[:3000]), FILE)
    assert (partial.committed, partial.hashed) == (3000, 0)
    partial.append(DATA[3000:])
    assert partial.hashed == 0  # the prefix comes first
    assert not partial.is_right()
    read: list[int] = []
    partial.catch_up(read.append)
    assert sum(read) == 5000
    assert partial.is_right()
    partial.close()


def test_what_arrives_after_catching_up_is_hashed_as_it_comes(path: Path) -> None:
    partial = Partial(begun(path, DATA[:3000]), FILE)
    partial.catch_up()
    assert partial.hashed == 3000
    partial.append(DATA[3000:])
    assert partial.hashed == 5000
    assert partial.is_right()
    partial.close()


def test_nothing_is_kept_where_nothing_shall_be(path: Path) -> None:
    partial = Partial(begun(path, DATA[:3000]), FILE, keep=False)
    assert partial.committed == 0
    assert path.stat().st_size == 0
    partial.close()


def test_more_than_the_whole_file_is_no_prefix_of_it(path: Path) -> None:
    partial = Partial(begun(path, DATA + b"!"), FILE)
    assert partial.committed == path.stat().st_size == 0
    partial.close()


def holes_can_be_seen(folder: Path) -> bool:
    with (folder / "probe").open("w+b") as file:
        file.truncate(1 << 20)
        return first_hole(file.fileno(), 1 << 20) == 0


def test_a_partial_is_cut_at_its_first_hole(path: Path, tmp_path: Path) -> None:
    if not holes_can_be_seen(tmp_path):
        pytest.skip("this file system does not tell where holes are")
    data = os.urandom(1 << 20)
    begun(path, data[: 1 << 18])
    with path.open("r+b") as file:
        file.seek(1 << 19)
        file.write(data[1 << 19 :])
    partial = Partial(path, file_of(data))
    assert partial.committed == path.stat().st_size == 1 << 18
    partial.append(data[1 << 18 :])
    partial.catch_up()
    assert partial.is_right()
    partial.close()


@pytest.mark.parametrize(
    ("zeros", "kept"),
    [
        pytest.param(4096, 3000, id="a block that never reached the disk"),
        pytest.param(100_000, 3000, id="many"),
        pytest.param(1000, 3000, id="a part of one"),
    ],
)
def test_what_a_power_cut_left_as_zeros_is_cut_off(path: Path, zeros: int, kept: int) -> None:
    data = b"\x01" * 200_000
    partial = Partial(begun(path, data[:3000] + bytes(zeros)), file_of(data))
    assert partial.committed == path.stat().st_size == kept
    partial.close()


def test_zeros_that_belong_there_only_cost_their_own_bytes(path: Path) -> None:
    data = b"\x01" * 3000 + bytes(50_000) + b"\x01" * 3000
    partial = Partial(begun(path, data[:40_000]), file_of(data))
    partial.append(data[partial.committed :])
    partial.catch_up()
    assert partial.is_right()
    partial.close()


def test_a_wrong_byte_in_a_resumed_prefix_is_seen(path: Path) -> None:
    for at in (0, 2999):
        spoilt = bytearray(DATA[:3000])
        spoilt[at] ^= 1
        partial = Partial(begun(path, bytes(spoilt)), FILE)
        partial.append(DATA[3000:])
        partial.catch_up()
        assert partial.hashed == 5000
        assert not partial.is_right()
        partial.restart()
        assert partial.committed == path.stat().st_size == 0
        partial.append(DATA)
        assert partial.is_right()
        partial.close()


def test_a_file_that_becomes_shorter_meanwhile_is_noticed(path: Path) -> None:
    partial = Partial(begun(path, DATA[:3000]), FILE)
    os.truncate(path, 100)
    with pytest.raises(OSError, match="became shorter"):
        partial.catch_up()
    partial.close()


def test_a_place_that_cannot_be_opened_leaves_nothing_open(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(Problem, match=r"x\.incomplete is a folder"):
        Partial(path, FILE)


def pieces_of(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    for start, end in pairwise(edges):
        yield data[start:end]


@settings(deadline=None)
@given(
    data=st.binary(max_size=4000),
    resumed=st.integers(0, 4000),
    cuts=st.lists(st.integers(0, 4000), max_size=8),
    catching=st.sets(st.integers(0, 9)),
    again=st.booleans(),
)
def test_any_pieces_any_resume_point_any_time_to_catch_up(
    data: bytes, resumed: int, cuts: list[int], catching: set[int], again: bool
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.incomplete")
        path.write_bytes(data[:resumed])
        partial = Partial(path, file_of(data))
        if again:
            partial.restart()
        for number, piece in enumerate(pieces_of(data[partial.committed :], cuts)):
            if number in catching:
                partial.catch_up()
            partial.append(piece)
            assert partial.hashed <= partial.committed == path.stat().st_size
        partial.catch_up()
        assert partial.is_right()
        partial.close()
        assert path.read_bytes() == data


@settings(max_examples=25, deadline=None)
@given(resumed=st.integers(0, 3 << 20), piece=st.integers(1 << 12, 1 << 20), spoil=st.booleans())
def test_catching_up_in_another_thread_while_bytes_arrive(resumed: int, piece: int, spoil: bool) -> None:
    # No zeros, nor what a flipped bit makes one: at the end of what was there, they would be cut off.
    data = hashlib.shake_256(b"x").digest(4 << 20).replace(b"\0", b"\2").replace(b"\1", b"\3")
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.incomplete")
        prefix = bytearray(data[:resumed])
        if spoil and prefix:
            prefix[-1] ^= 1
        path.write_bytes(prefix)
        partial = Partial(path, file_of(data))
        thread = threading.Thread(target=partial.catch_up)
        thread.start()
        for start in range(resumed, len(data), piece):
            partial.append(data[start : start + piece])
        thread.join()
        partial.catch_up()
        assert partial.hashed == len(data)
        assert partial.is_right() is not (spoil and resumed > 0)
        partial.close()
