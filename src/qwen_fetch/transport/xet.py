"""Bytes from the Xet store, as they come over the line: the published Xet protocol on the connections of this program.

The Hub's own library for it (`hf_xet`) hands over a range of up to 64 MB as a whole: what a silent connection or a kill
takes with it, and what has to be held in memory. Here a range is read chunk by chunk (about 64 KiB). Nothing that the
store sends is believed before the file's sha256 is right, and what cannot be understood is fetched over HTTP.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from qwen_fetch.transport.answers import check_data, fail, reason, stated_range
from qwen_fetch.transport.chunks import Chunks, MalformedError
from qwen_fetch.transport.connection import HEADERS, Connection
from qwen_fetch.transport.reconstruction import runs
from qwen_fetch.transport.source import Failure, FailureKind, piece_size

if TYPE_CHECKING:
    from collections.abc import Generator

    from qwen_fetch.base.files import RepoFile
    from qwen_fetch.transport.endpoint import Endpoint
    from qwen_fetch.transport.reconstruction import Run

__all__ = ["Admission", "XetSource"]

_ANSWER = 16 << 20  # bytes of the store's answer at most: 64 MiB in the smallest chunks need a tenth of it
_EARLY = 60.0  # seconds before its end from which a token is not used any more
_LEAST = 60.0  # seconds for which it is used at least, whatever this machine's clock says


class Admission:
    """The store's address and a token for it, which the endpoint hands out for a while; shared by all workers.

    Args:
        endpoint: The Hub.
        repo_id: The repo.
        commit: The pinned commit.
    """

    def __init__(self, endpoint: Endpoint, repo_id: str, commit: str) -> None:
        self._endpoint = endpoint
        self._url = f"{endpoint.address}/api/models/{repo_id}/xet-read-token/{commit}"
        self._given: tuple[str, str] | None = None
        self._until = 0.0  # monotonic seconds
        self._lock = threading.Lock()

    def get(self) -> tuple[str, str]:
        """The store's address, and the token.

        Raises:
            Failure: The endpoint does not give one.
        """
        with self._lock:  # while the others wait: one token is enough
            if self._given is None or time.monotonic() >= self._until:
                body = self._endpoint.ask("GET", self._url).body
                try:
                    answer = json.loads(body)
                    self._given = str(answer["casUrl"]).rstrip("/"), str(answer["accessToken"])
                    left = float(answer["exp"]) - time.time()
                except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
                    raise Failure(FailureKind.NOT_DATA, "the endpoint's token cannot be read") from error
                self._until = time.monotonic() + max(left - _EARLY, _LEAST)
            return self._given

    def forget(self, given: tuple[str, str]) -> None:
        """It was refused: ask for another one next time."""
        with self._lock:
            if self._given == given:
                self._given = None


class XetSource:
    """One worker's connection to the store, and one to the service that knows where in it a file is.

    Args:
        admission: The way in.
        timeout: Seconds for a connection.
        stall_timeout: Seconds without a byte after which the connection is given up.
        limit_rate: Bytes per second of all connections; pieces are small enough for it to be even. None: no limit.
    """

    transport: Literal["xet"] = "xet"

    def __init__(
        self, admission: Admission, timeout: float, stall_timeout: float, limit_rate: int | None = None
    ) -> None:
        self.cache = ""  # none has what is signed anew each time
        self._admission = admission
        self._service = Connection(timeout, stall_timeout)
        self._store = Connection(timeout, stall_timeout)
        self._chunks = Chunks(piece_size(limit_rate))

    def window(
        self,
        file: RepoFile,
        start: int,
        end: int,
        *,
        afresh: bool = False,  # noqa: ARG002 - each address is signed anew, so no cache has the answer
    ) -> Generator[memoryview]:
        """See `Source.window`."""
        self._service.aborted = self._store.aborted = False
        position = start
        try:
            while position < end:
                for number, run in enumerate(self._locate(file, position, end)):
                    if position == end or (number and run.before):
                        break  # its address serves another run as well: alone, it gets one of its own
                    for piece in self._read(run, end - position):
                        position += len(piece)
                        yield piece
        except Failure as failure:
            if position == end:
                return  # all that was wanted is there: what failed was the rest of the last chunk
            if self._service.aborted or self._store.aborted:
                raise Failure(FailureKind.STALLED, "Xet: ended from outside") from failure
            raise failure.told_by("Xet") from failure

    def abort(self) -> None:
        """See `Source.abort`."""
        self._service.abort()
        self._store.abort()

    def close(self) -> None:
        """See `Source.close`."""
        self._service.close()
        self._store.close()

    def _locate(self, file: RepoFile, start: int, end: int) -> list[Run]:
        """Ask where the bytes are.

        Version 1 of the question: it has an address for each range. Version 2 saves addresses where a file is in
        many small places, for clients that ask for several ranges at once.
        """
        given = self._admission.get()
        address, token = given
        url = f"{address}/v1/reconstructions/{file.xet_hash}"
        headers = HEADERS | {"Authorization": f"Bearer {token}", "Range": f"bytes={start}-{end - 1}"}
        with self._service.get(url, headers) as response:
            if response.status in {401, 403}:
                self._admission.forget(given)
            if response.status not in {200, 206}:
                fail(response, urlsplit(url), at_endpoint=False)
            body = self._service.read(response, _ANSWER)
        try:
            return runs(json.loads(body), end - start)
        except (ValueError, RecursionError) as error:
            raise Failure(FailureKind.NOT_DATA, reason(error)) from error

    def _read(self, run: Run, most: int) -> Generator[memoryview]:
        """The bytes of a run that were asked for, `most` at most."""
        skip, end = run.skip, min(run.length, run.skip + most)
        self._chunks.begin(run.before, run.count)
        at = 0
        with self._store.get(run.url, HEADERS | {"Range": f"bytes={run.start}-{run.end - 1}"}) as response:
            parts = urlsplit(run.url)
            check_data(response, parts, "a part of the store", at_endpoint=False)
            if response.status == 206:
                stated_range(response, parts, run.start, run.end)
            elif run.start or response.length != run.end:
                raise Failure(FailureKind.NO_RANGES, f"{parts.hostname} sends a whole xorb instead of a range")
            while not self._chunks.ended:
                got = self._store.receive(response, self._chunks.room())
                try:
                    for piece in self._chunks.take(got):
                        begin, at = at, at + len(piece)
                        if skip < at and begin < end:
                            yield piece[max(skip - begin, 0) : end - begin]
                except MalformedError as error:
                    raise Failure(FailureKind.NOT_DATA, str(error)) from error
        if at != run.length:
            raise Failure(FailureKind.NOT_DATA, f"{at} bytes where {run.length} were announced")
