"""The arithmetic of chunks and xorbs, against the plain way of doing it."""

import random
from pathlib import Path

import pytest

from qwen_fetch.localhub import xet
from qwen_fetch.localhub.bodies import XorbBody

RECORD = xet.CHUNK + xet.HEADER


def built(data: bytes) -> bytes:
    """Return a whole xorb of `data`, put together in memory."""
    chunks = [data[start : start + xet.CHUNK] for start in range(0, len(data), xet.CHUNK)]
    return b"".join(xet.chunk_header(len(chunk)) + chunk for chunk in chunks)


def test_terms_cover_a_range_with_whole_chunks_and_no_more() -> None:
    size = 2 * xet.XORB_CONTENT + 5 * xet.CHUNK + 11
    dice = random.Random(1)
    for _ in range(200):
        start = dice.randrange(size)
        end = dice.randrange(start + 1, size + 1)
        run = list(xet.terms(size, start, end))
        first = run[0].xorb * xet.CHUNKS_PER_XORB + run[0].chunks.start
        last = run[-1].xorb * xet.CHUNKS_PER_XORB + run[-1].chunks.stop - 1
        assert first == start // xet.CHUNK
        assert last == (end - 1) // xet.CHUNK
        assert sum(term.length for term in run) == min(size, (last + 1) * xet.CHUNK) - first * xet.CHUNK
        for term in run:
            assert term.stored.start == term.chunks.start * RECORD
            assert len(term.stored) == term.length + len(term.chunks) * xet.HEADER
            assert term.stored.stop <= xet.xorb_size(size, term.xorb)


def test_a_xorb_made_on_the_way_is_the_xorb_made_at_once(tmp_path: Path) -> None:
    dice = random.Random(2)
    data = dice.randbytes(3 * xet.CHUNK + 1_000)
    file = tmp_path / "file"
    file.write_bytes(data)
    whole = built(data)
    body = XorbBody(file, 0)
    assert body.size == len(whole) == xet.xorb_size(len(data), 0)
    for _ in range(200):
        start = dice.randrange(body.size)
        end = dice.randrange(start + 1, body.size + 1)
        piece = memoryview(bytearray(end - start))
        body.fill(piece, start)
        assert piece == whole[start:end]
        span = body.span(start, end)
        assert all(byte in whole[start:end] for byte in data[span.start : span.start + 1])
    body.close()


def test_the_last_xorb_begins_where_the_one_before_ends(tmp_path: Path) -> None:
    tail = b"the end"
    file = tmp_path / "file"
    with file.open("wb") as sparse:
        sparse.seek(xet.XORB_CONTENT)
        sparse.write(tail)
    body = XorbBody(file, 1)
    piece = memoryview(bytearray(body.size))
    body.fill(piece, 0)
    assert bytes(piece) == built(tail)
    assert body.span(0, body.size) == range(xet.XORB_CONTENT, xet.XORB_CONTENT + len(tail))
    body.close()


@pytest.mark.parametrize(("size", "count"), [(1, 1), (xet.XORB_CONTENT, 1), (xet.XORB_CONTENT + 1, 2)], ids=str)
def test_xorb_count(size: int, count: int) -> None:
    assert xet.xorb_count(size) == count
