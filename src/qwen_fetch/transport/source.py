"""Where bytes come from: two transports behind one small interface.

A source belongs to one worker and fetches over one connection. Only here is it known how a connection can fail:
what fails is a `Failure`.

    http.py            a range of a file from the address where it is
    xet.py             the same from the Xet store, with
    reconstruction.py    the store's answer where the range lies in it, and
    chunks.py            the store's format
    endpoint.py        the Hub, asked for both
    proxy.py           the way through a proxy
    look.py            whether a host can be reached again
    connection.py      one connection that is kept, and can be ended from outside
    answers.py         what an answer or an error means
    choice.py          which of the two a run has
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.base.settings import Transport

__all__ = ["Failure", "FailureKind", "Source", "piece_size"]

_PIECE = 1 << 20
_SMALLEST_PIECE = 4 << 10  # with a limit on the rate
_PIECES_A_SECOND = 50


def piece_size(limit_rate: int | None) -> int:
    """Bytes to read from a connection at a time: less where the rate is limited, so that it is even."""
    return _PIECE if limit_rate is None else min(_PIECE, max(_SMALLEST_PIECE, limit_rate // _PIECES_A_SECOND))


class FailureKind(StrEnum):
    """How an attempt to fetch a window can end, told apart by what may help."""

    CUT = "cut"  # the connection ended early
    STALLED = "stalled"  # it is open and says nothing
    UNREACHABLE = "unreachable"  # no connection: name, route, refusal, time limit
    UNTRUSTED = "untrusted"  # TLS: the certificate is not accepted
    REFUSED = "refused"  # the data host does not accept the signed URL (any more)
    DENIED = "denied"  # the endpoint wants another token
    MISSING = "missing"  # the endpoint does not know the file
    THROTTLED = "throttled"  # 429
    SERVER = "server"  # 5xx, and whatever else is not an answer
    WRONG_RANGE = "wrong-range"  # other bytes than those asked for
    WRONG_LENGTH = "wrong-length"  # the file is not as long as listed
    NO_RANGES = "no-ranges"  # the whole file instead of the range
    ENCODED = "encoded"  # packed, though that was not asked for
    NOT_DATA = "not-data"  # a page instead of bytes


class Failure(Exception):  # noqa: N818 - an outcome that is planned for, not an error
    """An attempt that did not bring its window to the end.

    Args:
        kind: What happened.
        detail: The evidence in a few words, without secrets.
        retry_after: Seconds the server asks to wait, if it does.
        code: What the Hub calls it (`X-Error-Code`), if it was the Hub.
        where: The origin that could not be reached, if it was that.
    """

    def __init__(
        self, kind: FailureKind, detail: str, retry_after: float | None = None, *, code: str = "", where: str = ""
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after
        self.code = code
        self.where = where


class Source(Protocol):
    """One worker's connection over one transport."""

    @property
    def transport(self) -> Transport:
        """Over what."""

    def window(self, file: RepoFile, start: int, end: int) -> Generator[memoryview]:
        """The bytes `start` to `end` of a file, in order, in pieces that are valid until the next one.

        Raises:
            Failure: The attempt ended early; what was yielded before is good.
        """

    def abort(self) -> None:
        """End a `window` that is blocked in another thread; it raises `Failure`. The source can be used again."""

    def close(self) -> None:
        """Let go of the connection."""
