"""What a stored file is, when it is not what it should be; told from a few of its bytes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, BinaryIO

from qwen_fetch.cache.disk import first_hole

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["can_begin", "filled", "oddity", "received"]

_PEEK = 512  # bytes in which every kind of page or pointer shows what it is
_HEADER_MOST = 100_000_000  # bytes: the limit of the safetensors format
_BLOCK = 1 << 20  # bytes read at a time
_ZEROS = bytes(1 << 16)  # weights have no run of 64 KiB zeros; what was never written has little else
_SIGNS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file it points to"),
    (b"<!doctype", "a web page (HTML)"),
    (b"<html", "a web page (HTML)"),
    (b"<?xml", "an error message (XML)"),
    (b'{"error', "an error message (JSON)"),
)


def oddity(path: Path, *, safetensors: bool) -> str:
    """Why the file at `path` cannot be what it should be, in words; empty where nothing shows.

    Reads a few bytes, so an empty answer is no proof.

    Args:
        path: The file.
        safetensors: Whether it should be such a file; its header then says how long it has to be.

    Raises:
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if words := _page(file):
            return words
        covered = _covered(file, size) if safetensors else size
    if covered is None:
        return "no safetensors file: its header is cut or cannot be read"
    if covered != size:
        return f"a safetensors file of {covered:,} bytes by its header, and {size:,} are here"
    return ""


def can_begin(path: Path, size: int, *, safetensors: bool) -> bool:
    """Whether the file at `path` may be the beginning of one of `size` bytes: no page, and no other tensors.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        if _page(file):
            return False
        return not safetensors or (_has_length(file, size) and _covered(file, size) in {None, size})


def _page(file: BinaryIO) -> str:
    start = file.read(_PEEK).lstrip().lower().replace(b'{ "', b'{"')
    return next((words for sign, words in _SIGNS if start.startswith(sign)), "")


def _has_length(file: BinaryIO, size: int) -> bool:
    """Whether the first word can be the length of a safetensors header in a file of `size` bytes."""
    file.seek(0)
    return 2 <= int.from_bytes(file.read(8), "little") <= min(_HEADER_MOST, size - 8)


def _covered(file: BinaryIO, size: int) -> int | None:
    """How long the file has to be by its safetensors header; None where that cannot be told."""
    if size < 8 or not _has_length(file, size):
        return None
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    try:
        entries = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"), default=0)
        return 8 + length + int(end)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def received(path: Path) -> int:
    """How many bytes from the start of an unfinished file were certainly written.

    It is cut at its first hole (programs that write out of order, or reserve the space first, leave holes), and the
    zeros before that are cut as well: a hole begins at a block of the disk, not at the last byte written. So are
    zeros at the end: after a power cut a file may be longer than what reached the disk. Where those zeros are the
    right bytes, they are fetched again.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        return _without_zeros(file, first_hole(file.fileno(), size))


def filled(path: Path) -> int:
    """Where the first 64 KiB of zeros begin; the size of the file where there are none.

    For a file known to be wrong: what a crash, a full disk or a reserved file left unwritten reads as zeros.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        position, tail = 0, b""
        while block := file.read(_BLOCK):
            found = (tail + block).find(_ZEROS)
            if found >= 0:
                return _without_zeros(file, position - len(tail) + found)
            position += len(block)
            tail = block[-len(_ZEROS) + 1 :]
        return _without_zeros(file, size) if tail.endswith(bytes(4096)) else size


def _without_zeros(file: BinaryIO, end: int) -> int:
    """The end of `file`'s first `end` bytes, without the zeros there."""
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        kept = len(file.read(end - start).rstrip(b"\0"))
        if kept:
            return start + kept
        end = start
    return 0
