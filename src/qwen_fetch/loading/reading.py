"""Read the weight files once, in order, before they are mapped: at the disk's full speed, with a bar.

A mapped file is otherwise read in small pieces by one thread when its pages are first touched: 0.6 GB/s instead of
3.2 GB/s with 4 threads, measured on one SSD.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["read_ahead"]

_THREADS = 4  # more were slower
_PIECE = 8 << 20  # bytes


def read_ahead(files: Sequence[Path], *, progress: bool) -> None:
    """Read `files` into the page cache.

    Args:
        files: The weight files.
        progress: Whether a bar is shown on stderr.
    """
    total = sum(file.stat().st_size for file in files)
    lock = Lock()
    with tqdm(
        desc="Reading the weights", total=total, unit="B", unit_scale=True, disable=not progress, leave=False
    ) as bar:

        def read(path: Path) -> None:
            buffer = bytearray(_PIECE)
            with path.open("rb", buffering=0) as file:
                while got := file.readinto(buffer):
                    with lock:
                        bar.update(got)

        with ThreadPoolExecutor(_THREADS) as pool:
            for done in [pool.submit(read, file) for file in files]:
                done.result()
