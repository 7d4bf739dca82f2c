"""A cheap look whether a host can be reached again, so that the end of an outage is noticed before a pause is over."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from qwen_fetch.transport.connection import connect

__all__ = ["LOOK_PERIOD", "is_reachable"]

LOOK_PERIOD = 2.0  # seconds between two looks


def is_reachable(origin: str) -> bool:
    """Whether a connection can be opened, through the proxy if there is one; nothing is asked.

    Args:
        origin: Scheme, host and port; empty: not known, so no.
    """
    with suppress(OSError, ValueError):
        if origin:
            connect(urlsplit(origin), LOOK_PERIOD).close()
            return True
    return False
