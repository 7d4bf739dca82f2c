"""Xet storage as arithmetic: where a byte of a file lies in its chunks and xorbs. No I/O, no state.

A file is cut into chunks, a run of chunks makes a xorb, and a xorb holds each chunk behind a header of 8 bytes.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

CHUNK = 65_521
"""Bytes of every chunk but a file's last. Odd, so that nobody's windows line up with chunks by luck."""
CHUNKS_PER_XORB = 1_000
HEADER = 8
"""Bytes of a chunk's header."""
XORB_CONTENT = CHUNK * CHUNKS_PER_XORB
"""Bytes of a file that a full xorb holds."""

_Json = dict[str, object]


def xorb_count(size: int) -> int:
    """Return the number of xorbs of a file of `size` bytes."""
    return -(-size // XORB_CONTENT)


def xorb_hash(xet_hash: str, number: int) -> str:
    """Return the made-up hash, 64 hex digits, of a file's xorb `number`."""
    return hashlib.sha256(f"xorb {xet_hash} {number}".encode()).hexdigest()


def xorb_size(file_size: int, number: int) -> int:
    """Return the bytes of xorb `number` as stored, headers included."""
    content = min(XORB_CONTENT, file_size - number * XORB_CONTENT)
    return content + HEADER * -(-content // CHUNK)


def chunk_header(length: int) -> bytes:
    """Return the header of a chunk of `length` bytes that is stored as it is."""
    size = length.to_bytes(3, "little")
    return b"\0" + size + b"\0" + size


@dataclass(frozen=True)
class Term:
    """A run of chunks of one xorb. Ranges exclude their end."""

    xorb: int
    """The xorb's number in the file."""
    chunks: range
    """Numbers in the xorb."""
    stored: range
    """Bytes in the xorb, headers included."""
    length: int
    """Bytes of the file these chunks hold."""


def terms(file_size: int, start: int, end: int) -> Iterator[Term]:
    """Yield the terms that cover the bytes `start` to `end` (excluded) of a file, whole chunks each."""
    first, last = start // CHUNK, -(-end // CHUNK)
    while first < last:
        xorb, index = divmod(first, CHUNKS_PER_XORB)
        count = min(last - first, CHUNKS_PER_XORB - index)
        length = min((first + count) * CHUNK, file_size) - first * CHUNK
        begin = index * (CHUNK + HEADER)
        stored = range(begin, begin + length + count * HEADER)
        yield Term(xorb, range(index, index + count), stored, length)
        first += count


def reconstruction_v2(xet_hash: str, run: list[Term], urls: dict[int, str], offset: int) -> _Json:
    """Return the reply that tells a client how to build a range, in the second form.

    Args:
        xet_hash: The file.
        run: Its terms in file order.
        urls: Where each xorb can be read, by number.
        offset: Bytes of the first term that come before the asked range.
    """
    return {
        "offset_into_first_range": offset,
        "terms": _terms(xet_hash, run),
        "xorbs": {
            xorb_hash(xet_hash, term.xorb): [
                {
                    "url": urls[term.xorb],
                    "ranges": [{"chunks": _excluded(term.chunks), "bytes": _included(term.stored)}],
                }
            ]
            for term in run
        },
    }


def reconstruction_v1(xet_hash: str, run: list[Term], urls: dict[int, str], offset: int) -> _Json:
    """Return the same as `reconstruction_v2` in the first form."""
    return {
        "offset_into_first_range": offset,
        "terms": _terms(xet_hash, run),
        "fetch_info": {
            xorb_hash(xet_hash, term.xorb): [
                {
                    "range": _excluded(term.chunks),
                    "url": urls[term.xorb],
                    "url_range": _included(term.stored),
                }
            ]
            for term in run
        },
    }


def _terms(xet_hash: str, run: list[Term]) -> list[_Json]:
    return [
        {
            "hash": xorb_hash(xet_hash, term.xorb),
            "unpacked_length": term.length,
            "range": _excluded(term.chunks),
        }
        for term in run
    ]


def _excluded(numbers: range) -> _Json:
    return {"start": numbers.start, "end": numbers.stop}


def _included(numbers: range) -> _Json:
    return {"start": numbers.start, "end": numbers.stop - 1}
