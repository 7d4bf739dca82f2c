"""Bytes from the Xet store: ranged streams of `hf_xet`, one session per worker.

A session of its own, because the only call that wakes a blocked stream destroys its session
(`sigint_abort`), and only that worker must pay for it. A stream hands over its range as a whole, and holds it
in memory some five times over, so a window is fetched in pieces.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

import hf_xet

from qwen_fetch.sources import Failure, FailureKind
from qwen_fetch.windows import Pace

if TYPE_CHECKING:
    from collections.abc import Generator

    from qwen_fetch.snapshot import RepoFile

__all__ = ["XetSource"]

_MIB = 1 << 20


class XetSource:
    """One worker's Xet session.

    Args:
        token_url: Where the endpoint hands out Xet tokens: ``…/api/models/<repo>/xet-read-token/<commit>``.
        token: The token for the endpoint, if any; `hf_xet` sends it to `token_url` only.
        timeout: Seconds for a connection.
        stall_timeout: Seconds without a byte after which the watch gives up; the library does so much later.
    """

    transport: Literal["xet"] = "xet"
    streams = False

    def __init__(self, token_url: str, token: str | None, timeout: float, stall_timeout: float) -> None:
        self._token_url = token_url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._config = hf_xet.XetConfig().with_config(
            {
                "client.connect_timeout": f"{timeout:g}s",
                # A net under the watch of `transfer`, which knows a machine that slept from a line that is silent.
                "client.read_timeout": f"{2 * stall_timeout + 10:g}s",
                # Retrying is this program's business: the library would sleep 3, 9, 27… s and ask for the whole again.
                "client.retry_max_attempts": 0,
                # One worker is one connection: of a piece asked for ahead, only its way is asked for.
                "client.ac_initial_download_concurrency": 1,
                "client.ac_max_download_concurrency": 1,
                # A piece in one request: by itself the library asks for 1, 2, 4… MiB, each a round trip or two.
                "reconstruction.min_reconstruction_fetch_size": 64 * _MIB,
                "reconstruction.max_reconstruction_fetch_size": 64 * _MIB,
                "reconstruction.download_buffer_size": 64 * _MIB,
                "reconstruction.download_buffer_perfile_size": 64 * _MIB,
                "reconstruction.download_buffer_limit": 64 * _MIB,
                "reconstruction.min_prefetch_buffer": _MIB,
                "telemetry.enabled": False,
            }
        )
        self._session: Any = None
        self._group: Any = None
        self._pace = Pace()
        self._ended = 0.0  # when the last piece was here
        self._aborted = False

    def window(self, file: RepoFile, start: int, end: int) -> Generator[bytes]:
        """See `Source.window`."""
        self._aborted = False
        asked: deque[_Piece] = deque()
        position, whole = start, False
        try:
            group = self._open()
            info = hf_xet.XetFileInfo(file.xet_hash, file.size)
            while position < end or asked:
                while position < end and len(asked) <= (ahead := self._pace.ahead):
                    piece = _Piece(group, info, position, position + self._share(end - position))
                    piece.begin(aside=ahead > 0)
                    asked.append(piece)
                    position = piece.end
                yield from self._answer(asked.popleft())
            whole = True
        except Failure:
            raise
        except (Exception, KeyboardInterrupt) as error:  # an aborted session raises the latter, in no other way
            raise _failure(error, aborted=self._aborted) from error
        finally:
            if not whole:
                self._pace.shrink()
                self.abort()  # the pieces that nobody waits for any more must not go on
                self.close()

    def abort(self) -> None:
        """See `Source.abort`."""
        session = self._session
        if session is not None:
            self._aborted = True
            session.sigint_abort()

    def close(self) -> None:
        """See `Source.close`."""
        self._session = self._group = None

    def _open(self) -> Any:
        if self._group is None:
            self._session = hf_xet.XetSession(config=self._config)
            self._group = self._session.new_download_stream_group(
                token_refresh_url=self._token_url, token_refresh_headers=self._headers
            )
        return self._group

    def _share(self, left: int) -> int:
        """Bytes of the next piece when so many are left: equal parts, so that the last is not tiny."""
        return -(-left // -(-left // self._pace.piece()))

    def _answer(self, piece: _Piece) -> Generator[bytes]:
        piece.wait()
        count = sum(map(len, piece.received))
        if count != piece.end - piece.start:
            raise Failure(FailureKind.CUT, f"Xet sent {count} of {piece.end - piece.start} bytes")
        # One that was asked for ahead began to arrive when the one before had ended.
        self._pace.learn(count, piece.ended - max(piece.began, self._ended), 0)
        self._ended = piece.ended
        while piece.received:  # let go of each at once: the next piece is to take its memory
            yield piece.received.pop(0)


class _Piece:
    """The bytes `start` to `end` (excluded) of a file."""

    def __init__(self, group: Any, info: Any, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.received: list[bytes] = []
        self.began = self.ended = time.perf_counter()
        self._group, self._info = group, info
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def begin(self, *, aside: bool) -> None:
        """Fetch it: here and now, or aside, for a stream does nothing until somebody waits for it."""
        if aside:
            self._thread = threading.Thread(target=self._fetch, name="xet piece", daemon=True)
            self._thread.start()
        else:
            self._fetch()

    def wait(self) -> None:
        """Wait until it is here; raises what the library raised."""
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _fetch(self) -> None:
        try:
            self.received = list(self._group.download_stream(self._info, start=self.start, end=self.end))
        except BaseException as error:  # noqa: BLE001 - raised again where the piece is waited for
            self._error = error
        self.ended = time.perf_counter()


# The library's exceptions are told apart by their class and the first words of their text.
_PREFIXES = (
    ("Rate limited", FailureKind.THROTTLED),
    ("Server error", FailureKind.SERVER),
    ("Timeout", FailureKind.STALLED),
    ("Network error", FailureKind.CUT),
    ("Data integrity", FailureKind.NOT_DATA),
)


def _failure(error: BaseException, *, aborted: bool) -> Failure:
    text = " ".join(str(error).split())
    detail = f"Xet: {_without_query(text)[:200]}"
    if aborted:
        return Failure(FailureKind.STALLED, "Xet: ended from outside")
    if isinstance(error, hf_xet.XetAuthenticationError):
        return Failure(FailureKind.DENIED, detail)
    if isinstance(error, hf_xet.XetObjectNotFoundError):
        return Failure(FailureKind.MISSING, detail)
    for prefix, kind in _PREFIXES:
        if text.startswith(prefix):
            return Failure(kind, detail)
    if isinstance(error, TimeoutError):
        return Failure(FailureKind.STALLED, detail)
    if isinstance(error, ConnectionError):
        return Failure(FailureKind.CUT, detail)
    return Failure(FailureKind.SERVER, detail)


def _without_query(text: str) -> str:
    """The text with the queries of its URLs cut off: that is where signatures are."""
    return " ".join(word.split("?", 1)[0] if "://" in word else word for word in text.split(" "))
