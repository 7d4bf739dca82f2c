r"""One value type for a digest, and what checks it.

The Hub names a large file by the sha256 of its bytes and a small one by its git blob id,
the sha1 of ``b"blob <size>\0"`` and the bytes. Both are also the names of the blobs in the cache.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _typeshed import ReadableBuffer

__all__ = ["Digest", "Hasher", "hash_file"]

Algorithm = Literal["sha256", "git-sha1"]
_HEX_LENGTH: dict[Algorithm, int] = {"sha256": 64, "git-sha1": 40}
_READ_BYTES = 1 << 20  # large enough to leave the GIL alone, small enough to stay in the CPU's cache


class Hasher(Protocol):
    """What `hashlib` returns."""

    def update(self, data: ReadableBuffer, /) -> None:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """The digest of all bytes so far, in lower-case hex."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest as the Hub states it.

    Raises:
        ValueError: `hex` is not a digest of that algorithm. Listings come from the network, and the
            digest becomes a file name, so nothing else may pass.
    """

    algorithm: Algorithm
    hex: str

    def __post_init__(self) -> None:  # noqa: D105 - see the class
        if not re.fullmatch(f"[0-9a-f]{{{_HEX_LENGTH[self.algorithm]}}}", self.hex):
            raise ValueError(f"not a {self.algorithm} digest: {self.hex!r}")

    def hasher(self, size: int) -> Hasher:
        """A hasher for a file of `size` bytes whose result can be compared with `hex`."""
        if self.algorithm == "sha256":
            return hashlib.sha256()
        return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)

    def matches(self, path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> bool:
        """Whether the file at `path` has this digest; reads it whole.

        Args:
            path: The file.
            on_bytes: Called with the number of bytes read by each step.

        Raises:
            OSError: It cannot be read.
        """
        hasher = self.hasher(path.stat().st_size)
        hash_file(path, hasher, 0, None, on_bytes)
        return hasher.hexdigest() == self.hex


def hash_file(
    path: Path,
    hasher: Hasher,
    start: int,
    end: int | None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> int:
    """Feed the bytes `start` to `end` (None: to the end of the file) of `path` to `hasher`.

    Returns:
        How many bytes were read: fewer than asked for when the file is shorter.
    """
    buffer = memoryview(bytearray(_READ_BYTES))
    done = 0
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while end is None or start + done < end:
            want = len(buffer) if end is None else min(len(buffer), end - start - done)
            got = file.readinto(buffer[:want])
            if not got:
                break
            hasher.update(buffer[:got])
            done += got
            on_bytes(got)
    return done
