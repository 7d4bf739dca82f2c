"""The endpoint, asked where bytes are: the token goes there, and nowhere else."""

from __future__ import annotations

from http.client import HTTPException
from urllib.parse import urljoin, urlsplit

from qwen_fetch.transport.answers import fail, fail_to_connect
from qwen_fetch.transport.connection import HEADERS, connect, origin, target
from qwen_fetch.transport.source import Failure, FailureKind

__all__ = ["Endpoint"]

_MAX_REDIRECTS = 5
_MOST = 1 << 20  # bytes of an answer


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

    def ask(self, method: str, url: str) -> tuple[str, bytes]:
        """Ask it, and follow where it sends us as long as that is the endpoint itself.

        Returns:
            The URL of the answer with its body; or of another host, which was not asked, and nothing.

        Raises:
            Failure: It does not tell.
        """
        for _ in range(_MAX_REDIRECTS):
            parts = urlsplit(url)
            try:
                connection = connect(parts, self._timeout)
                try:
                    connection.request(method, target(parts), headers=self.headers(url))
                    with connection.getresponse() as response:
                        body = response.read(_MOST) if response.status == 200 else b""
                finally:
                    connection.close()
            except (OSError, HTTPException, ValueError) as error:
                fail_to_connect(error, parts)
            if not 300 <= response.status < 400:
                if response.status != 200:
                    fail(response, parts, at_endpoint=True)
                return url, body
            try:
                url = urljoin(url, response.headers.get("Location", ""))
                if not self.owns(url):
                    return url, b""
            except ValueError as error:  # what it names is no address
                fail_to_connect(error, parts)
        raise Failure(FailureKind.SERVER, f"{urlsplit(url).hostname} redirects in a circle")
