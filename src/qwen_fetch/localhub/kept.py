"""Xorbs as files, packed as the real store packs them: made once, and then sent by the kernel."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from lz4.frame import compress

from qwen_fetch.localhub import xet
from qwen_fetch.localhub.bodies import FileBody, XorbBody
from qwen_fetch.localhub.catalog import Entry

Packing = Literal["none", "lz4", "grouped"]
"""Chunks as they are; each an LZ4 frame; each an LZ4 frame of every fourth byte first, as suits numbers of 4 bytes.

A chunk that does not get smaller is kept as it is."""

_SCHEMES: dict[Packing, int] = {"none": 0, "lz4": 1, "grouped": 2}


@dataclass(frozen=True)
class Kept:
    """One xorb as a file."""

    path: Path
    edges: list[int]
    """Where each chunk begins in it, and at last its size: bytes."""

    def stored(self, chunks: range) -> range:
        """Return the bytes of the xorb that hold `chunks`, headers included."""
        return range(self.edges[chunks.start], self.edges[chunks.stop])


def keep(folder: Path, entry: Entry, number: int, packing: Packing) -> Kept:
    """Return xorb `number` of a file, made now unless it is there.

    Args:
        folder: Where xorbs are kept.
        entry: The file.
        number: Of the xorb in the file.
        packing: How its chunks are packed.
    """
    path = folder / packing / xet.xorb_hash(entry.xet_hash, number)
    edges = [0]
    if path.exists():
        size = path.stat().st_size
        with path.open("rb") as xorb:
            while edges[-1] < size:
                xorb.seek(edges[-1] + 1)
                edges.append(edges[-1] + xet.HEADER + int.from_bytes(xorb.read(3), "little"))
        return Kept(path, edges)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    with entry.file.open("rb") as file, unfinished.open("wb") as xorb:
        file.seek(number * xet.XORB_CONTENT)
        for _ in range(xet.CHUNKS_PER_XORB):
            content = file.read(xet.CHUNK)
            if not content:
                break
            xorb.write(_chunk(content, packing))
            edges.append(xorb.tell())
    os.replace(unfinished, path)  # noqa: PTH105 - over what another process may have made meanwhile
    return Kept(path, edges)


class KeptXorbBody(XorbBody):
    """A xorb that is a file."""

    def __init__(self, path: Path, number: int, kept: Kept) -> None:
        super().__init__(path, number)
        self._stored = FileBody(kept.path)
        self._edges = kept.edges
        self.size = self._stored.size

    def fill(self, view: memoryview, offset: int) -> None:  # noqa: D102
        self._stored.fill(view, offset)
        if self._broken is not None:
            at = self._edges[self._broken] - offset
            begin, end = max(at, 0), min(at + xet.HEADER, len(view))
            view[begin:end] = b"\xff" * max(end - begin, 0)

    def flip(self, offset: int) -> None:
        """Change the byte at `offset` of the file; where chunks are packed, one byte of its chunk."""
        chunk, within = divmod(offset - self._first, xet.CHUNK)
        begin, end = self._edges[chunk : chunk + 2]
        self._stored.flip(min(begin + xet.HEADER + within, end - 1))

    def corrupt(self, offset: int) -> None:  # noqa: D102
        self._broken = self._edges.index(offset)

    def span(self, start: int, end: int) -> range:
        """Return the bytes of the file in the chunks that begin between `start` and `end` of the xorb."""
        chunks = [number for number, edge in enumerate(self._edges) if start <= edge < end]
        first, last = (chunks[0], chunks[-1] + 1) if chunks else (0, 0)
        return range(self._first + first * xet.CHUNK, self._first + min(last * xet.CHUNK, self._content))

    def raw(self) -> BinaryIO | None:  # noqa: D102
        return None if self._broken is not None else self._stored.raw()

    def close(self) -> None:  # noqa: D102
        super().close()
        self._stored.close()


def _chunk(content: bytes, packing: Packing) -> bytes:
    """Return a chunk with its header."""
    scheme = _SCHEMES[packing]
    if scheme:
        plain = b"".join(content[start::4] for start in range(4)) if packing == "grouped" else content
        packed: bytes = compress(plain)
        if len(packed) < len(content):
            size, stored = (len(part).to_bytes(3, "little") for part in (content, packed))
            return b"\0" + stored + bytes([scheme]) + size + packed
    return xet.chunk_header(len(content)) + content
