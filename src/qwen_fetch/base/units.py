"""Bytes and seconds as people write and read them."""

from __future__ import annotations

import re
import time

__all__ = ["amount_text", "day_text", "parse_bytes", "parse_time", "size_text", "time_text"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def parse_bytes(text: str) -> int:
    """Bytes from ``20M``, ``1.5G``, ``800k`` or ``64MiB``: powers of 1000, or of 1024 with an ``i``.

    Raises:
        ValueError: It is not such a number.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?|)b?(?:/s)?", text.strip(), re.IGNORECASE)
    if not match:
        raise ValueError(f"not a number of bytes: {text!r}")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def parse_time(text: str) -> float:
    """Seconds, from what a person writes: ``30``, ``45s``, ``90m``, ``12h``, ``2d``.

    Raises:
        ValueError: It is not such a time.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip(), re.IGNORECASE | re.ASCII)
    if not match:
        raise ValueError(f"not a time: {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2].lower()]


def size_text(count: float) -> str:
    """Bytes for people: ``57.7 GB``, in powers of 1000 as the Hub and disk makers count."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def amount_text(done: int, total: int) -> str:
    """``28.3/57.7 GB``: both in the unit of the whole."""
    number, unit = size_text(total).split()
    scale = 1000 ** ("B", "KB", "MB", "GB", "TB").index(unit)
    digits = len(number.partition(".")[2]) if len(number) <= 4 else 0
    return f"{done / scale:.{digits}f}/{total / scale:.{digits}f} {unit}"


def time_text(seconds: float) -> str:
    """A duration for people."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def day_text(when: float) -> str:
    """The day of a moment, seconds since 1970, where this machine is: ``2026-03-01``."""
    return time.strftime("%Y-%m-%d", time.localtime(when))
