"""The header of a safetensors file: which tensors it holds, and what is wrong when it is not one.

Eight bytes of length, a JSON header, then the data. Reading the first two tells pointer files, error pages and
cut files apart without torch and without reading the weights. Bytes that are wrong inside the data are found by
their digest alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from qwen_fetch.loading.weights import Tensor

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BadWeights", "read_header", "read_metadata"]

_LARGEST = 100_000_000  # bytes of a header that safetensors accepts


class BadWeights(Exception):  # noqa: N818 - it says what the file is, not what failed
    """A file that is no whole safetensors file; the message says what it is instead."""


def read_header(path: Path) -> list[Tensor]:
    """The tensors of one file, in the order of the file.

    Raises:
        BadWeights: It is not a whole safetensors file.
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if not _is_header_length(start, length, size):
            raise BadWeights(_what_it_is(start + file.read(200), size))
        text = file.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        entries = [(name, tuple(entry["shape"]), *entry["data_offsets"]) for name, entry in header.items()]
        end = max((int(end) for _, _, _, end in entries), default=0)
    except (ValueError, KeyError, TypeError, AttributeError):
        if not text.strip(b"\0"):
            raise BadWeights("its header is all zeros: space was reserved for it, and nothing was written") from None
        raise BadWeights("its header is damaged") from None
    if 8 + length + end != size:
        what = "cut short" if 8 + length + end > size else "too long"
        raise BadWeights(f"it is {what}: {size:,} bytes, and its header promises {8 + length + end:,}")
    entries.sort(key=lambda entry: entry[2])
    return [Tensor(name, shape, end - begin) for name, shape, begin, end in entries]


def read_metadata(path: Path) -> dict[str, str]:
    """What the writer of a whole file noted in its header: free text.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    noted = header.get("__metadata__", {})
    return {str(key): str(value) for key, value in noted.items()} if isinstance(noted, dict) else {}


def _is_header_length(start: bytes, length: int, size: int) -> bool:
    return len(start) == 8 and length <= _LARGEST and 8 + length <= size and not start.startswith(b"version ")


def _what_it_is(start: bytes, size: int) -> str:
    """What a file is that does not begin like weights."""
    text = start.lstrip().lower()
    if not start:
        return "it is empty"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file: the repo was cloned without git-lfs"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page: a proxy or an error page was saved in its place"
    if text.startswith(b"{"):
        return "it is an error message in JSON that was saved in its place"
    if not start.strip(b"\0"):
        return "it begins with zeros: space was reserved for it, and nothing was written"
    return f"it is cut short within its header, or no weights at all ({size:,} bytes)"
