"""Bytes over plain HTTP: `Range` requests on one kept connection, read into one reused buffer.

`http.client` instead of a larger library because it can read into a buffer: with the sha256 of every byte that
is about twice the speed of the Hub client's own path at half the CPU time, and the socket is at hand to be shut
down from another thread.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, RemoteDisconnected
from typing import TYPE_CHECKING, Literal, NoReturn
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from qwen_fetch import __version__
from qwen_fetch.sources import Failure, FailureKind
from qwen_fetch.sources.connection import connect, origin, target

if TYPE_CHECKING:
    from collections.abc import Generator

    from qwen_fetch.snapshot import RepoFile

__all__ = ["Addresses", "HttpSource"]

_HEADERS = {"User-Agent": f"qwen-fetch/{__version__}", "Accept-Encoding": "identity"}
_MAX_REDIRECTS = 5
_BUFFER = 1 << 20
_SMALLEST_PIECE = 4 << 10  # with a limit on the rate
_PIECES_A_SECOND = 50


class Addresses:
    """Where each file's bytes are: the endpoint's redirect, asked for once and shared by all workers.

    Args:
        endpoint: The Hub's address. The token goes there and nowhere else.
        repo_id: The repo.
        commit: The pinned commit.
        token: The token for the endpoint, if any.
        timeout: Seconds for a connection and for an answer.
    """

    def __init__(self, endpoint: str, repo_id: str, commit: str, token: str | None, timeout: float) -> None:
        self._base = f"{endpoint}/{repo_id}/resolve/{commit}/"
        self._origin = origin(urlsplit(endpoint))
        self._token = token
        self._timeout = timeout
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def of(self, file: RepoFile) -> str:
        """The URL that serves the file's bytes.

        Raises:
            Failure: The endpoint does not tell.
        """
        with self._lock:
            known = self._known.get(file.path)
        if known is None:
            known = self._resolve(self._base + quote(file.path))
            with self._lock:
                self._known[file.path] = known
        return known

    def forget(self, file: RepoFile) -> None:
        """The URL was refused: ask for a new one next time."""
        with self._lock:
            self._known.pop(file.path, None)

    def headers(self, url: str) -> dict[str, str]:
        """The headers of a request for `url`: with the token if, and only if, it goes to the endpoint."""
        if self._token and origin(urlsplit(url)) == self._origin:
            return _HEADERS | {"Authorization": f"Bearer {self._token}"}
        return dict(_HEADERS)

    def is_endpoint(self, url: str) -> bool:
        """Whether the endpoint itself answers for `url`."""
        return origin(urlsplit(url)) == self._origin

    def _resolve(self, url: str) -> str:
        for _ in range(_MAX_REDIRECTS):
            parts = urlsplit(url)
            try:
                connection = connect(parts, self._timeout)
                try:
                    connection.request("HEAD", target(parts), headers=self.headers(url))
                    response = connection.getresponse()
                finally:
                    connection.close()
            except (OSError, HTTPException, ValueError) as error:
                _fail_to_connect(error, parts)
            if not 300 <= response.status < 400:
                if response.status != 200:
                    _fail(response, parts, at_endpoint=True)
                return url
            try:
                url = urljoin(url, response.headers.get("Location", ""))
                if not self.is_endpoint(url):
                    return url
            except ValueError as error:  # what it names is no address
                _fail_to_connect(error, parts)
        raise Failure(FailureKind.SERVER, f"{urlsplit(url).hostname} redirects in a circle")


class HttpSource:
    """One worker's HTTP connection.

    Args:
        addresses: Where the bytes are.
        timeout: Seconds for a connection.
        stall_timeout: Seconds without a byte after which the connection is given up.
        limit_rate: Bytes per second of all connections; pieces are small enough for it to be even. None: no limit.
    """

    transport: Literal["http"] = "http"
    streams = True

    def __init__(
        self, addresses: Addresses, timeout: float, stall_timeout: float, limit_rate: int | None = None
    ) -> None:
        self._addresses = addresses
        self._timeout = timeout
        self._stall_timeout = stall_timeout
        self._connection: HTTPConnection | None = None
        self._origin = ""
        self._aborted = False
        size = _BUFFER if limit_rate is None else min(_BUFFER, max(_SMALLEST_PIECE, limit_rate // _PIECES_A_SECOND))
        self._buffer = memoryview(bytearray(size))

    def window(self, file: RepoFile, start: int, end: int) -> Generator[memoryview]:
        """See `Source.window`."""
        self._aborted = False
        whole = False  # until the window was read to its end, the connection cannot be used again
        try:
            url = self._addresses.of(file)
            response = self._ask(url, start, end)
            skip = self._check(response, url, file, start, end)
            yield from self._read(response, skip, end - start)
            if response.length == 0:
                response.read()  # nothing: it lets the connection go on to the next request
                whole = True
        except Failure as failure:
            if self._aborted:
                raise Failure(FailureKind.STALLED, "ended from outside") from failure
            if failure.kind in {FailureKind.REFUSED, FailureKind.NOT_DATA, FailureKind.WRONG_RANGE}:
                self._addresses.forget(file)
            raise
        finally:
            if not whole:
                self.close()

    def abort(self) -> None:
        """See `Source.abort`."""
        self._aborted = True
        connection = self._connection
        if connection is not None and isinstance(connection.sock, socket.socket):
            with suppress(OSError):  # it may have ended by itself in this very moment
                # Not `sock.shutdown`: with TLS that also drops the decryption, and the reader would be
                # handed what is still in the system's buffer as it came over the line.
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """See `Source.close`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, url: str, start: int, end: int) -> HTTPResponse:
        parts = urlsplit(url)
        headers = self._addresses.headers(url) | {"Range": f"bytes={start}-{end - 1}"}
        reused = self._connection is not None and self._origin == origin(parts)
        try:
            if not reused:
                self.close()
                self._connection = connect(parts, self._timeout)
                self._origin = origin(parts)
            if self._aborted:  # while there was no connection yet that could have been shut down
                raise Failure(FailureKind.STALLED, "ended from outside")
            assert self._connection is not None  # noqa: S101 - for the type checker
            self._connection.sock.settimeout(self._stall_timeout)
            self._connection.request("GET", target(parts), headers=headers)
            return self._connection.getresponse()
        except (RemoteDisconnected, ConnectionError) as error:
            self.close()
            if reused and not self._aborted:  # the server had closed the idle connection: that is nobody's fault
                return self._ask(url, start, end)
            if isinstance(error, ConnectionRefusedError):
                _fail_to_connect(error, parts)
            raise Failure(FailureKind.CUT, f"{parts.hostname} closed the connection before it answered") from error
        except TimeoutError as error:
            if self._connection is not None:
                raise Failure(FailureKind.STALLED, f"{parts.hostname} does not answer") from error
            _fail_to_connect(error, parts)
        except (OSError, HTTPException, ValueError) as error:
            _fail_to_connect(error, parts)

    def _check(self, response: HTTPResponse, url: str, file: RepoFile, start: int, end: int) -> int:
        """Whether the answer is the range that was asked for; returns how many bytes of it to skip."""
        parts = urlsplit(url)
        if response.status not in {200, 206}:
            _fail(response, parts, at_endpoint=self._addresses.is_endpoint(url))
        if "html" in response.headers.get("Content-Type", ""):
            raise Failure(FailureKind.NOT_DATA, f"{parts.hostname} sent a page instead of {file.path}")
        if response.status == 200:
            if response.length != file.size:
                raise Failure(
                    FailureKind.WRONG_LENGTH,
                    f"{parts.hostname} has {response.length} bytes, {file.size} are listed",
                )
            if end < file.size:
                raise Failure(FailureKind.NO_RANGES, f"{parts.hostname} sends the whole file instead of a range")
            return start
        stated = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", stated)
        if not match or int(match[1]) != start or int(match[2]) >= end:
            raise Failure(
                FailureKind.WRONG_RANGE,
                f"{parts.hostname} sent {stated!r} when asked for bytes {start}-{end - 1}",
            )
        if match[3] not in {"*", str(file.size)}:
            raise Failure(FailureKind.WRONG_LENGTH, f"{parts.hostname} has {match[3]} bytes, {file.size} are listed")
        return 0

    def _read(self, response: HTTPResponse, skip: int, count: int) -> Generator[memoryview]:
        left = skip + count
        while left:
            try:
                got = _receive(response, self._buffer[:left])
            except TimeoutError as error:
                raise Failure(FailureKind.STALLED, f"no byte for {self._stall_timeout:g} s") from error
            except (OSError, HTTPException) as error:
                raise Failure(FailureKind.CUT, f"the connection broke: {_reason(error)}") from error
            if not got:
                raise Failure(FailureKind.CUT, f"the connection ended {left} bytes early")
            left -= got
            passed = min(skip, got)
            skip -= passed
            if passed < got:
                yield self._buffer[passed:got]


def _receive(response: HTTPResponse, buffer: memoryview) -> int:
    """One `recv` of the body into `buffer`: a reset would take what a fuller read had gathered with it.

    The response's own `readinto1` makes new `bytes` of the buffer's size each time and copies them.
    """
    if response.length is None:  # chunked, or to the end of the connection
        return response.readinto1(buffer)
    got = response.fp.readinto1(buffer[: response.length])
    response.length -= got
    return got


def _fail(response: HTTPResponse, parts: SplitResult, *, at_endpoint: bool) -> NoReturn:
    """Raise what a status other than 200 and 206 means."""
    status = response.status
    detail = f"{parts.hostname} answered {status} {_printable(response.reason)}".rstrip()
    retry_after = _asked_pause(response)
    if status == 429:
        raise Failure(FailureKind.THROTTLED, detail, retry_after)
    if status == 416:
        raise Failure(FailureKind.WRONG_LENGTH, detail)
    if status in {401, 403, 404, 410}:
        if not at_endpoint:
            raise Failure(FailureKind.REFUSED, detail)
        raise Failure(FailureKind.DENIED if status in {401, 403} else FailureKind.MISSING, detail)
    raise Failure(FailureKind.SERVER, detail, retry_after)


def _asked_pause(response: HTTPResponse) -> float | None:
    """Seconds the server asks to wait: `Retry-After` (seconds or a date), or the Hub's `RateLimit: "api";r=0;t=55`."""
    wait = response.headers.get("Retry-After", "")
    if re.fullmatch(r"\d{1,6}", wait, re.ASCII):
        return float(wait)
    with suppress(ValueError, OverflowError, OSError):
        return max(0.0, parsedate_to_datetime(wait).timestamp() - time.time())
    limit = re.search(r"\br=0\b.*?\bt=(\d{1,6})\b", response.headers.get("RateLimit", ""), re.ASCII)
    return float(limit[1]) + 1 if limit else None


def _fail_to_connect(error: Exception, parts: SplitResult) -> NoReturn:
    kind = FailureKind.UNTRUSTED if isinstance(error, ssl.SSLCertVerificationError) else FailureKind.UNREACHABLE
    raise Failure(kind, f"{parts.hostname}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror).lower()
    return _printable(str(error)) or type(error).__name__


def _printable(text: str) -> str:
    """What a server said, in one short line without control codes."""
    return "".join(c if c.isprintable() else " " for c in text[:200]).strip()
