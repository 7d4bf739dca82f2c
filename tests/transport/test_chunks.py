"""The Xet store's format: whatever way a run of chunks is packed and arrives, its bytes come out, or it is refused."""

from __future__ import annotations

import random
import tracemalloc
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lz4.frame import compress

from qwen_fetch.transport.chunks import Chunks, MalformedError

AS_IT_IS, LZ4, GROUPED = range(3)
LIMIT = 512 << 10  # of a packed chunk, and of what it holds: four times what the protocol allows
LARGE = bytes(range(256)) * (LIMIT // 256)


def header(length: int, scheme: int, size: int, version: int = 0) -> bytes:
    return bytes([version]) + length.to_bytes(3, "little") + bytes([scheme]) + size.to_bytes(3, "little")


def grouped(content: bytes) -> bytes:
    return b"".join(content[first::4] for first in range(4))


def chunk(content: bytes, scheme: int = AS_IT_IS) -> bytes:
    stored: bytes = {AS_IT_IS: content, LZ4: compress(content), GROUPED: compress(grouped(content))}[scheme]
    return header(len(stored), scheme, len(content)) + stored


def feed(chunks: Chunks, stored: bytes, splits: list[int]) -> tuple[bytes, int]:
    """Hand `stored` over in parts until the run has ended; returns what came out, and how much was taken."""
    got, at, sizes = bytearray(), 0, cycle(splits)
    while at < len(stored) and not chunks.ended:
        part = stored[at : at + min(next(sizes), len(chunks.room()))]
        chunks.room()[: len(part)] = part
        at += len(part)
        for piece in chunks.take(len(part)):
            assert len(piece)
            got += piece
    return bytes(got), at


contents = st.one_of(
    st.binary(min_size=1, max_size=40),
    # Repetitive, as what packs well, and long, as real chunks are.
    st.builds(
        lambda pattern, size: (pattern * size)[:size], st.binary(min_size=1, max_size=9), st.integers(1, 140_000)
    ),
)


@settings(deadline=None)
@given(
    pieces=st.lists(st.tuples(contents, st.sampled_from([AS_IT_IS, LZ4, GROUPED])), min_size=1, max_size=8),
    before=st.integers(0, 7),
    after=st.integers(0, 7),
    splits=st.lists(st.sampled_from([1, 7, 8, 9, 1000, 65_536, 1 << 20]), min_size=1, max_size=5),
    most=st.sampled_from([1 << 20, 65_536, 4096, 100]),
)
def test_the_content_comes_out_whatever_the_packing_and_the_splits(
    pieces: list[tuple[bytes, int]], before: int, after: int, splits: list[int], most: int
) -> None:
    # Byte by byte through megabytes would show nothing more.
    least = sum(len(content) for content, _ in pieces) // 2000
    splits = [max(size, least) for size in splits]
    before = min(before, len(pieces) - 1)
    count = max(1, len(pieces) - before - after)
    stored = [chunk(content, scheme) for content, scheme in pieces]
    wanted = pieces[before : before + count]
    needed = len(b"".join(stored[: before + count]))
    chunks = Chunks(most)
    for _ in range(2):  # the second run must not be disturbed by what is left of the first one
        chunks.begin(before, count)
        got, taken = feed(chunks, b"".join(stored) + b"\xff" * 99, splits)
        assert (got, chunks.ended) == (b"".join(content for content, _ in wanted), True)
        assert taken - min(max(splits), most) < needed <= taken
        chunks.begin(before, count)
        short, _ = feed(chunks, b"".join(stored)[: needed - 1], splits)
        assert (got[: len(short)], chunks.ended) == (short, False)


def test_a_piece_is_no_larger_than_what_is_read_at_a_time_where_nothing_is_packed() -> None:
    chunks = Chunks(1000)
    chunks.begin(0, 1)
    sizes = []
    stored = memoryview(chunk(b"x" * 5000))
    while not chunks.ended:
        part, stored = stored[:1000], stored[1000:]
        chunks.room()[: len(part)] = part
        sizes += [len(piece) for piece in chunks.take(len(part))]
    assert sizes == [992, 1000, 1000, 1000, 1000, 8]


@pytest.mark.parametrize(
    ("content", "scheme"),
    [
        pytest.param(bytes(3 << 20), AS_IT_IS, id="as it is, longer than any buffer"),
        pytest.param(LARGE, LZ4, id="the largest that is unpacked"),
        pytest.param(LARGE, GROUPED, id="the largest that is put in order"),
    ],
)
def test_large_chunks(content: bytes, scheme: int) -> None:
    chunks = Chunks()
    chunks.begin(1, 5)
    large, small = chunk(content, scheme), chunk(b"some", scheme)
    assert feed(chunks, large + small + large * 4, [1 << 20])[0] == b"some" + content * 4


def test_contents_of_fewer_bytes_than_groups_while_a_piece_is_still_held() -> None:
    chunks = Chunks()
    chunks.begin(0, 3)
    held = []
    for number, content in enumerate([b"1", b"22", b"333"]):
        stored = chunk(content, GROUPED)
        chunks.room()[: len(stored)] = stored
        held += list(chunks.take(len(stored)))
        assert held[number] == content


def test_what_is_passed_over_is_not_unpacked() -> None:
    chunks = Chunks()
    chunks.begin(1, 1)
    assert feed(chunks, header(50, LZ4, 60) + b"x" * 50 + chunk(b"good", LZ4), [1000])[0] == b"good"
    chunks.begin(1, 1)
    with pytest.raises(MalformedError):  # but it has to be a chunk
        feed(chunks, header(0, LZ4, 60) + chunk(b"good", LZ4), [1000])


frame = compress(b"0123456789" * 10)

MALFORMED = [
    pytest.param(header(5, AS_IT_IS, 5, version=1) + b"hello", id="another version"),
    pytest.param(header(5, 3, 5) + b"hello", id="another scheme"),
    pytest.param(header(0, AS_IT_IS, 0), id="nothing in it"),
    pytest.param(header(len(frame), LZ4, 0) + frame, id="nothing in it, packed"),
    pytest.param(header(0, LZ4, 5), id="packed in nothing"),
    pytest.param(header(5, AS_IT_IS, 6) + b"hello!", id="as it is, and yet of another length"),
    pytest.param(chunk(random.Random(1).randbytes(LIMIT), LZ4), id="too large a frame"),
    pytest.param(chunk(LARGE + b"x", LZ4), id="too large a content"),
    pytest.param(header(50, LZ4, 60) + b"x" * 50, id="no frame"),
    pytest.param(header(len(frame) - 5, LZ4, 100) + frame[:-5], id="half a frame"),
    pytest.param(header(len(frame), LZ4, 99) + frame, id="more than announced"),
    pytest.param(header(len(frame), LZ4, 101) + frame, id="less than announced"),
    pytest.param(header(len(frame), GROUPED, 101) + frame, id="less than announced, in groups"),
    pytest.param(b"<!DOCTYPE html><html><head>", id="a page"),
]


@pytest.mark.parametrize("splits", [[1 << 20], [65_536, 3]], ids=["at once", "in parts"])
@pytest.mark.parametrize("skip", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("stored", MALFORMED)
def test_what_is_no_chunk_is_refused(stored: bytes, skip: int, splits: list[int]) -> None:
    chunks = Chunks()
    chunks.begin(skip, 1)
    with pytest.raises(MalformedError):
        feed(chunks, chunk(b"good") * skip + stored, splits)
    # The next run is read as if nothing had been.
    chunks.begin(0, 1)
    assert feed(chunks, chunk(b"good", LZ4), splits)[0] == b"good"


def test_a_frame_that_holds_far_more_than_it_says_is_refused_without_the_memory_for_it() -> None:
    bomb = compress(bytes(100_000_000))
    assert len(bomb) < LIMIT
    chunks = Chunks()
    chunks.begin(0, 1)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError):
            feed(chunks, header(len(bomb), LZ4, LIMIT) + bomb, [1 << 20])
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@given(
    stored=st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda at, by: bytes(byte ^ by * (number == at) for number, byte in enumerate(chunk(b"0123" * 9, GROUPED))),
            st.integers(0, 60),
            st.integers(0, 255),
        ),
    ),
    skip=st.integers(0, 1),
)
def test_nothing_but_a_refusal_comes_of_any_bytes(stored: bytes, skip: int) -> None:
    chunks = Chunks()
    chunks.begin(skip, 2)
    try:
        got, _ = feed(chunks, stored, [1 << 20])
    except MalformedError:
        return
    assert len(got) <= 60
