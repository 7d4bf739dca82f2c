"""The endpoint, asked where bytes are: the token goes there, and nowhere else."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from qwen_fetch.base.waiting import within
from qwen_fetch.transport.answers import check_data, circle, linked_etag, redirected
from qwen_fetch.transport.connection import HEADERS, Connection, origin
from qwen_fetch.transport.source import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse

__all__ = ["Endpoint"]

_MAX_REDIRECTS = 5
_MOST = 1 << 20  # bytes of an answer


class Said(NamedTuple):
    """What the endpoint said.

    Attributes:
        url: Of the answer; or of another host, which was not asked.
        body: Of the answer; of another host's, nothing.
        etag: The digest that the file has according to it; empty: it did not say.
    """

    url: str
    body: bytes
    etag: str


class Endpoint:
    """The Hub's address, with the token for it.

    Args:
        address: ``https://huggingface.co``, say.
        token: The token, if any.
        timeout: Seconds for a connection and for an answer.
    """

    def __init__(self, address: str, token: str | None, timeout: float) -> None:
        self.address = address
        self._origin = origin(urlsplit(address))
        self._token = token
        self._timeout = timeout

    def owns(self, url: str) -> bool:
        """Whether the endpoint itself answers for `url`."""
        return origin(urlsplit(url)) == self._origin

    def headers(self, url: str) -> dict[str, str]:
        """The headers of a request for `url`: with the token if, and only if, it goes to the endpoint."""
        if self._token and self.owns(url):
            return HEADERS | {"Authorization": f"Bearer {self._token}"}
        return dict(HEADERS)

    def ask(self, method: str, url: str) -> Said:
        """Ask it, and follow where it sends us as long as that is the endpoint itself.

        Raises:
            Failure: It does not tell, or not in time.
        """
        with self._connection() as connection:
            for _ in range(_MAX_REDIRECTS):
                with connection.get(url, self.headers(url), method) as response:
                    etag = linked_etag(response)
                    if not 300 <= response.status < 400:
                        return Said(url, self._body(connection, response, url, _MOST), etag)
                    url = redirected(url, response.headers.get("Location", ""))
                if not self.owns(url):
                    return Said(url, b"", etag)
        raise circle(urlsplit(url))

    def read(self, url: str, most: int) -> tuple[bytes, str]:
        """What it has to say at `url`; a redirect is followed anywhere, without the token where it leads elsewhere.

        Args:
            url: The address.
            most: Bytes that the answer may have.

        Returns:
            The answer, and its `Link` header.

        Raises:
            Failure: There is none, or not in time, or it is longer.
        """
        with self._connection() as connection:
            for _ in range(_MAX_REDIRECTS):
                with connection.get(url, self.headers(url)) as response:
                    if not 300 <= response.status < 400:
                        return self._body(connection, response, url, most), response.headers.get("Link", "")
                    url = redirected(url, response.headers.get("Location", ""))
        raise circle(urlsplit(url))

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection for one question, which ends in time however the answer trickles."""
        connection = Connection(self._timeout, self._timeout)
        try:
            with within(self._timeout, connection.abort):
                yield connection
        except Failure as failure:
            if connection.aborted:
                host = urlsplit(self.address).hostname
                raise Failure(FailureKind.STALLED, f"{host} did not answer within {self._timeout:g} s") from failure
            raise
        finally:
            connection.close()

    def _body(self, connection: Connection, response: HTTPResponse, url: str, most: int) -> bytes:
        parts = urlsplit(url)
        check_data(response, parts, "an answer", at_endpoint=True)
        body = connection.read(response, most)
        if len(body) == most:
            raise Failure(FailureKind.NOT_DATA, f"{parts.hostname} sends an answer without an end")
        return body
