"""The Xet store's format: a file is kept in chunks of about 64 KiB, each behind a header that says how it is packed.

A header is 8 bytes: the version (0), the length as stored (3 bytes, little-endian), the scheme, and the length of what
it holds (3 bytes likewise). The scheme is 0 for bytes as they are, 1 for an LZ4 frame, 2 for an LZ4 frame of bytes in
groups: those at positions 0, 4, 8… first, then those at 1, 5, 9…, and so on, which is how floating-point numbers
pack best. That is version 1.1 of the published Xet protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lz4.frame import LZ4FrameDecompressor

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Chunks", "MalformedError"]

_HEADER = 8
_AS_IT_IS, _LZ4, _GROUPED_LZ4 = range(3)
_GROUPS = 4
_BUFFER = 1 << 20
_LARGEST = _BUFFER // 2  # bytes of a packed chunk, and of what it holds; the protocol has 128 KiB


class MalformedError(ValueError):
    """These are no chunks."""


class Chunks:
    """Turns a run of chunks into the bytes they hold as they arrive: `begin`, then `room` and `take` by turns.

    Args:
        most: Bytes to read at a time.
    """

    def __init__(self, most: int = _BUFFER) -> None:
        self._stored = memoryview(bytearray(_BUFFER))
        self._plain = bytearray(_BUFFER)
        self._view = memoryview(self._plain)  # the same bytes: faster in a row, and slower in steps
        self._most = most
        self.begin(0, 0)

    def begin(self, skip: int, count: int) -> None:
        """A new run: pass over `skip` chunks, and unpack the next `count`."""
        self._filled = 0  # bytes of `_stored` that wait for more
        self._passing = 0  # bytes still to come of the chunk that is taken as it comes
        self._skip, self._left = skip, count

    @property
    def ended(self) -> bool:
        """Whether all chunks of the run have been handed out."""
        return not self._left and not self._passing

    def room(self) -> memoryview:
        """Where the next bytes go."""
        return self._stored[self._filled : self._filled + self._most]

    def take(self, count: int) -> Iterator[memoryview]:  # noqa: C901 - what can come next reads best in one place
        """What `count` more bytes in `room` bring, in pieces that are valid until the next one.

        They are large, as few writes cost less than many: chunks as they are close up where they lie, over the headers
        between them, and packed ones are unpacked behind one another.

        Raises:
            MalformedError: They are not what the format says.
        """
        end, at = self._filled + count, 0
        ready, begin, out = self._stored, 0, 0
        while at < end and not self.ended:
            if self._passing:
                size = min(self._passing, end - at)
                if not self._skip:
                    if ready is not self._stored:
                        yield ready[begin:out]
                        ready, begin, out = self._stored, 0, 0
                    begin, out = self._close_up(begin, out, at, size)
                at += size
                self._passing -= size
                self._count_if_ended()
                continue
            header = self._stored[at : min(at + _HEADER, end)]
            if len(header) < _HEADER:
                break
            length, scheme, size = _read(header)
            if scheme == _AS_IT_IS or self._skip:
                self._passing = length
                at += _HEADER
                continue
            if end - at < _HEADER + length:
                break  # it can only be unpacked as a whole
            if ready is self._stored or out + size > _BUFFER:
                if begin < out:
                    yield ready[begin:out]
                ready, begin, out = self._view, 0, 0
            at += _HEADER
            self._unpack(self._stored[at : at + length], scheme, out, size)
            at += length
            out += size
            self._left -= 1
        if begin < out:
            yield ready[begin:out]
        self._filled = 0 if self.ended else end - at
        self._stored[: self._filled] = self._stored[at : at + self._filled]

    def _close_up(self, begin: int, out: int, at: int, size: int) -> tuple[int, int]:
        """Add the `size` bytes at `at` to those that are ready, over the header between them; their new bounds."""
        if begin == out:
            return at, at + size
        self._stored[out : out + size] = self._stored[at : at + size]
        return begin, out + size

    def _count_if_ended(self) -> None:
        if self._passing:
            return
        if self._skip:
            self._skip -= 1
        else:
            self._left -= 1

    def _unpack(self, packed: memoryview, scheme: int, out: int, size: int) -> None:
        """Put what a packed chunk holds at `out` of the plain bytes."""
        frame = LZ4FrameDecompressor()
        try:
            content = frame.decompress(packed, max_length=size)  # a bound: nobody need believe what came
        except RuntimeError as error:
            raise MalformedError(f"a chunk that cannot be unpacked ({error})") from error
        if len(content) != size or not frame.eof:
            raise MalformedError("a chunk of another length than its header says")
        if scheme == _LZ4:
            self._view[out : out + size] = content
            return
        begin = 0
        for group in range(min(_GROUPS, size)):
            stop = begin + (size - group + _GROUPS - 1) // _GROUPS
            self._plain[out + group : out + size : _GROUPS] = content[begin:stop]
            begin = stop


def _read(header: memoryview) -> tuple[int, int, int]:
    """Length as stored, scheme, and length of what it holds."""
    length, scheme, size = int.from_bytes(header[1:4], "little"), header[4], int.from_bytes(header[5:8], "little")
    if header[0] != 0 or scheme > _GROUPED_LZ4 or not size or not length:
        raise MalformedError("a chunk of an unknown kind")
    if (length != size) if scheme == _AS_IT_IS else max(length, size) > _LARGEST:
        raise MalformedError("a chunk of an impossible length")
    return length, scheme, size
