"""Bytes over plain HTTP: `Range` requests on one kept connection, read into one reused buffer."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

from qwen_fetch.transport.answers import check_data, circle, linked_etag, redirected, said_by_caches, stated_range
from qwen_fetch.transport.connection import Connection
from qwen_fetch.transport.source import AWAY, Failure, FailureKind, piece_size

if TYPE_CHECKING:
    from collections.abc import Generator
    from http.client import HTTPResponse

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.transport.endpoint import Endpoint

__all__ = ["Addresses", "HttpSource"]

_MAX_REDIRECTS = 5
_PIECE = 256 << 10  # bytes read at a time: more is not faster, and takes memory once for each connection
_PERHAPS_THE_RANGE = {400, 403, 405}
# After these the endpoint is asked again where the bytes are: its data host may have moved.
_MOVED = {
    FailureKind.REFUSED,
    FailureKind.NOT_DATA,
    FailureKind.WRONG_RANGE,
    FailureKind.WRONG_LENGTH,
    FailureKind.STALLED,
    FailureKind.ODD,
    *AWAY,
}


class Addresses:
    """Where each file's bytes are: the endpoint's redirect, asked for once and shared by all workers.

    Args:
        endpoint: The Hub.
        repo_id: The repo.
        commit: The pinned commit.
    """

    def __init__(self, endpoint: Endpoint, repo_id: str, commit: str) -> None:
        self.endpoint = endpoint
        self._base = f"{endpoint.address}/{repo_id}/resolve/{commit}/"
        self._known: dict[str, str] = {}
        self.with_ranges: set[str] = set()  # hosts that have sent a part
        self.without_ranges: set[str] = set()  # hosts that refuse to send a part
        self._lock = threading.Lock()

    def of(self, file: RepoFile) -> str:
        """The URL that serves the file's bytes.

        Raises:
            Failure: The endpoint does not tell.
        """
        with self._lock:
            known = self._known.get(file.path)
        if known is None:
            known = self._base + quote(file.path)
            if file.is_large:  # the others the endpoint has itself: to ask where would take as long as to ask for them
                known = self._asked(file, known)
            with self._lock:
                self._known[file.path] = known
        return known

    def _asked(self, file: RepoFile, url: str) -> str:
        try:
            said = self.endpoint.ask("HEAD", url)
        except Failure as failure:
            if failure.kind not in {FailureKind.SERVER, FailureKind.ODD}:
                raise
            return url  # a mirror that refuses HEAD sends a GET on as well
        self._compare(file, said.etag)
        return said.url

    @staticmethod
    def _compare(file: RepoFile, etag: str) -> None:
        """What the endpoint says of a file before it sends it has to be what it has listed."""
        if file.digest.algorithm == "sha256" and re.fullmatch(r"[0-9a-f]{64}", etag) and etag != file.digest.hex:
            raise Failure(FailureKind.STALE, f"{file.digest.hex[:12]}… and {etag[:12]}…")

    def moved(self, file: RepoFile, url: str, response: HTTPResponse) -> None:
        """The file is elsewhere, says who was asked at `url`.

        Raises:
            Failure: That is no address; or it is another file than was listed.
        """
        if self.endpoint.owns(url):
            self._compare(file, linked_etag(response))
        led = redirected(url, response.headers.get("Location", ""))
        with self._lock:
            self._known[file.path] = led

    def forget(self, file: RepoFile) -> None:
        """The URL was refused: ask for a new one next time."""
        with self._lock:
            self._known.pop(file.path, None)


class HttpSource:
    """One worker's HTTP connection.

    Args:
        addresses: Where the bytes are.
        timeout: Seconds for a connection.
        stall_timeout: Seconds without a byte after which the connection is given up.
        limit_rate: Bytes per second of all connections; pieces are small enough for it to be even. None: no limit.
    """

    transport: Literal["http"] = "http"

    def __init__(
        self, addresses: Addresses, timeout: float, stall_timeout: float, limit_rate: int | None = None
    ) -> None:
        self._addresses = addresses
        self._timeout = timeout
        self._connection = Connection(timeout, stall_timeout)
        self.cache = ""
        self._buffer = memoryview(bytearray(piece_size(limit_rate, _PIECE)))

    def window(self, file: RepoFile, start: int, end: int, *, afresh: bool = False) -> Generator[memoryview]:
        """See `Source.window`."""
        self._connection.aborted = False
        try:
            for _ in range(_MAX_REDIRECTS):
                url = self._addresses.of(file)
                headers = self._addresses.endpoint.headers(url)
                if afresh:
                    headers["Cache-Control"] = "no-cache"  # heals it for everybody behind the same cache
                host = urlsplit(url).netloc
                asks_part = (file.is_large or end - start < file.size) and host not in self._addresses.without_ranges
                if asks_part:
                    headers["Range"] = f"bytes={start}-{end - 1}"
                with self._connection.get(url, headers) as response:
                    if 300 <= response.status < 400:
                        self._addresses.moved(file, url, response)
                        continue
                    self.cache = said_by_caches(response)
                    if asks_part:
                        self._check_part(response, url, host)
                    skip = self._check(response, url, file, start, end)
                    yield from self._read(response, skip, end - start)
                    return
            self._addresses.forget(file)
            raise circle(urlsplit(url))
        except Failure as failure:
            if self._connection.aborted:
                raise Failure(FailureKind.STALLED, "ended from outside") from failure
            if failure.kind in _MOVED:
                self._addresses.forget(file)
            raise

    def abort(self) -> None:
        """See `Source.abort`."""
        self._connection.abort()

    def close(self) -> None:
        """See `Source.close`."""
        self._connection.close()

    def _check_part(self, response: HTTPResponse, url: str, host: str) -> None:
        """Whether the host answers when it is asked for a part; if not, it is asked for the whole from now on."""
        known = self._addresses.with_ranges
        if response.status == 206:
            known.add(host)
        elif response.status in {416, 501} or (
            response.status in _PERHAPS_THE_RANGE and host not in known and self._sends_whole(url)
        ):
            self._addresses.without_ranges.add(host)
            raise Failure(FailureKind.NO_RANGES, f"{host} refuses to send a part of it")

    def _sends_whole(self, url: str) -> bool:
        """Whether it is the range that was refused: the same, asked for as a whole, is sent."""
        connection = Connection(self._timeout, self._timeout)
        try:
            with connection.get(url, self._addresses.endpoint.headers(url)) as response:
                return response.status == 200
        except Failure:
            return False
        finally:
            connection.close()

    def _check(self, response: HTTPResponse, url: str, file: RepoFile, start: int, end: int) -> int:
        """Whether the answer is the range that was asked for; returns how many bytes of it to skip."""
        parts = urlsplit(url)
        check_data(response, parts, file.path, at_endpoint=self._addresses.endpoint.owns(url))
        if response.status == 200:
            if response.length not in {file.size, None}:
                raise Failure(
                    FailureKind.WRONG_LENGTH,
                    f"{parts.hostname} has {response.length} bytes, {file.size} are listed",
                )
            if end < file.size:
                raise Failure(FailureKind.NO_RANGES, f"{parts.hostname} sends the whole file instead of a range")
            return start
        total = stated_range(response, parts, start, end)
        if total not in {"*", str(file.size)}:
            raise Failure(FailureKind.WRONG_LENGTH, f"{parts.hostname} has {total} bytes, {file.size} are listed")
        return 0

    def _read(self, response: HTTPResponse, skip: int, count: int) -> Generator[memoryview]:
        left = skip + count
        while left:
            got = self._connection.receive(response, self._buffer[:left])
            left -= got
            passed = min(skip, got)
            skip -= passed
            if passed < got:
                yield self._buffer[passed:got]
