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
    environment.py     what the environment says of the way: proxies, certificates
    choice.py          which of the two a run has
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.base.settings import Transport

__all__ = ["AWAY", "Failure", "FailureKind", "Source", "piece_size"]

_PIECE = 1 << 20
_SMALLEST_PIECE = 4 << 10  # with a limit on the rate
_PIECES_A_SECOND = 50


def piece_size(limit_rate: int | None, most: int = _PIECE) -> int:
    """Bytes to read from a connection at a time: less where the rate is limited, so that it is even."""
    return most if limit_rate is None else min(most, max(_SMALLEST_PIECE, limit_rate // _PIECES_A_SECOND))


class FailureKind(StrEnum):
    """How an attempt to fetch a window can end, told apart by what may help."""

    CUT = "cut"  # the connection ended early
    STALLED = "stalled"  # it is open and says nothing
    UNREACHABLE = "unreachable"  # no connection: route, time limit
    NO_NAME = "no-name"  # no connection: the name is not found
    CLOSED = "closed"  # no connection: nothing listens there
    PROXY_AWAY = "proxy-away"  # no connection: the proxy is out of reach, or does not get through either
    PROXY_LOGIN = "proxy-login"  # the proxy wants a user and a password
    PROXY_REFUSES = "proxy-refuses"  # the proxy does not want this host
    NOT_TLS = "not-tls"  # something answers there, but not in TLS
    UNTRUSTED = "untrusted"  # TLS: the certificate's issuer is not known here
    EXPIRED = "expired"  # TLS: the certificate is not valid today
    OTHER_HOST = "other-host"  # TLS: the certificate is for other names
    REFUSED = "refused"  # the data host does not accept the signed URL (any more)
    DENIED = "denied"  # the endpoint wants another token
    MISSING = "missing"  # the endpoint does not know the file
    THROTTLED = "throttled"  # 429
    SERVER = "server"  # 5xx
    ODD = "odd"  # a status that no Hub gives here, or a circle of redirects
    WRONG_RANGE = "wrong-range"  # other bytes than those asked for
    WRONG_LENGTH = "wrong-length"  # the file is not as long as listed
    NO_RANGES = "no-ranges"  # the whole file instead of the range
    ENCODED = "encoded"  # packed, though that was not asked for
    NOT_DATA = "not-data"  # a page instead of bytes
    STALE = "stale"  # the endpoint itself names another digest than it has listed


AWAY = frozenset({FailureKind.UNREACHABLE, FailureKind.NO_NAME, FailureKind.CLOSED, FailureKind.PROXY_AWAY})
"""There is no connection, and there may be one in a minute."""


class Failure(Exception):  # noqa: N818 - an outcome that is planned for, not an error
    """An attempt that did not bring its window to the end.

    Args:
        kind: What happened.
        detail: The evidence in a few words, without secrets.
        retry_after: Seconds the server asks to wait, if it does.
        status: Of the answer, if there was one.
        code: What the Hub calls it (`X-Error-Code`), if it was the Hub.
        said: What the Hub says about it, if it was the Hub.
        where: The origin that was asked, as far as it is known.
    """

    def __init__(
        self,
        kind: FailureKind,
        detail: str,
        retry_after: float | None = None,
        *,
        status: int = 0,
        code: str = "",
        said: str = "",
        where: str = "",
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after
        self.status = status
        self.code = code
        self.said = said
        self.where = where

    def told_by(self, who: str) -> Failure:
        """The same, with who tells it before its detail."""
        told = Failure(self.kind, f"{who}: {self.detail}", self.retry_after, status=self.status, where=self.where)
        told.code, told.said = self.code, self.said
        return told


class Source(Protocol):
    """One worker's connection over one transport.

    Attributes:
        cache: What a cache on the way said of its last answer; empty: none did.
    """

    cache: str

    @property
    def transport(self) -> Transport:
        """Over what."""

    def window(self, file: RepoFile, start: int, end: int, *, afresh: bool = False) -> Generator[memoryview]:
        """The bytes `start` to `end` of a file, in order, in pieces that are valid until the next one.

        Args:
            file: The file.
            start: The first byte.
            end: The byte after the last.
            afresh: Whether caches on the way are to ask for it again: what they gave was wrong.

        Raises:
            Failure: The attempt ended early; what was yielded before is good.
        """

    def abort(self) -> None:
        """End a `window` that is blocked in another thread; it raises `Failure`. The source can be used again."""

    def close(self) -> None:
        """Let go of the connection."""
