"""Where the bytes of a reply come from: memory, a file, or a file dressed up as a xorb."""

from pathlib import Path
from typing import BinaryIO, Protocol

from qwen_fetch.localhub import xet


class Body(Protocol):
    """The whole of something, of which a reply may send a range."""

    size: int
    """Bytes."""

    def fill(self, view: memoryview, offset: int) -> None:
        """Copy the bytes from `offset` on into `view`, which ends within the body."""

    def flip(self, offset: int) -> None:
        """Change one byte: the one at `offset` of the file, wherever that is in the body."""

    def span(self, start: int, end: int) -> range:
        """Return which bytes of the file the bytes `start` to `end` (excluded) hold."""

    def raw(self) -> BinaryIO | None:
        """Return the file whose bytes are those of the body one to one, if there is such a file."""

    def close(self) -> None:
        """Let go of the file."""


class TextBody:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = bytearray(data)
        self.size = len(data)

    def fill(self, view: memoryview, offset: int) -> None:  # noqa: D102  (the protocol says it)
        view[:] = memoryview(self._data)[offset : offset + len(view)]

    def flip(self, offset: int) -> None:  # noqa: D102
        self._data[offset] ^= 0xFF

    def span(self, start: int, end: int) -> range:  # noqa: D102
        return range(start, end)

    def raw(self) -> BinaryIO | None:  # noqa: D102
        return None

    def close(self) -> None:  # noqa: D102
        pass


class FileBody:
    """A file as it is."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._flips: list[int] = []
        self.size = path.stat().st_size

    def fill(self, view: memoryview, offset: int) -> None:  # noqa: D102
        self._file.seek(offset)
        done = 0
        while done < len(view):
            count = self._file.readinto(view[done:])
            if not count:
                raise EOFError("a served file has become shorter")
            done += count
        for flip in self._flips:
            if offset <= flip < offset + len(view):
                view[flip - offset] ^= 0xFF

    def flip(self, offset: int) -> None:  # noqa: D102
        self._flips.append(offset)

    def span(self, start: int, end: int) -> range:  # noqa: D102
        return range(start, end)

    def raw(self) -> BinaryIO | None:  # noqa: D102
        return None if self._flips else self._file

    def close(self) -> None:  # noqa: D102
        self._file.close()


class XorbBody:
    """One xorb of a file, put together as it is sent: nothing is stored twice."""

    def __init__(self, path: Path, number: int) -> None:
        self._file = FileBody(path)
        self._first = number * xet.XORB_CONTENT  # offset of the xorb's content in the file
        self._broken: int | None = None  # the chunk whose header is corrupt
        self._content = min(xet.XORB_CONTENT, self._file.size - self._first)
        self.size = xet.xorb_size(self._file.size, number)

    def fill(self, view: memoryview, offset: int) -> None:  # noqa: D102
        done = 0
        while done < len(view):
            chunk, within = divmod(offset + done, xet.CHUNK + xet.HEADER)
            length = min(xet.CHUNK, self._content - chunk * xet.CHUNK)
            if within < xet.HEADER:
                header = xet.chunk_header(length)
                if chunk == self._broken:
                    header = b"\xff" * xet.HEADER
                part = header[within : within + len(view) - done]
                view[done : done + len(part)] = part
                done += len(part)
            else:
                begin = within - xet.HEADER
                count = min(length - begin, len(view) - done)
                self._file.fill(view[done : done + count], self._first + chunk * xet.CHUNK + begin)
                done += count

    def flip(self, offset: int) -> None:  # noqa: D102
        self._file.flip(offset)

    def corrupt(self, offset: int) -> None:
        """Break the header of the chunk at `offset` of the xorb."""
        self._broken = offset // (xet.CHUNK + xet.HEADER)

    def span(self, start: int, end: int) -> range:  # noqa: D102
        return range(self._plain(start), self._plain(end))

    def raw(self) -> BinaryIO | None:  # noqa: D102
        return None

    def close(self) -> None:  # noqa: D102
        self._file.close()

    def _plain(self, offset: int) -> int:
        """Return the offset in the file of the first content at or after `offset` of the xorb."""
        chunk, within = divmod(offset, xet.CHUNK + xet.HEADER)
        return self._first + min(self._content, chunk * xet.CHUNK + max(0, within - xet.HEADER))
