"""Connections for URLs: through the proxy that the environment names, with the certificates that the system trusts.

`http.client` instead of a larger library because it can read into a buffer: with the sha256 of every byte that
is about twice the speed of the Hub client's own path at half the CPU time, and the socket is at hand to be shut
down from another thread.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, RemoteDisconnected
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from qwen_fetch.base.version import __version__
from qwen_fetch.transport.answers import fail_to_connect, reason
from qwen_fetch.transport.environment import environment, unusable
from qwen_fetch.transport.proxy import Asking, proxy_for, through
from qwen_fetch.transport.source import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["HEADERS", "Connection", "connect", "origin", "target"]

HEADERS = {"User-Agent": f"qwen-fetch/{__version__}", "Accept-Encoding": "identity"}
"""What every request says."""


class Connection:
    """One connection, kept from request to request as long as the same host is asked.

    Args:
        timeout: Seconds for opening it.
        stall_timeout: Seconds without a byte after which it is given up.
    """

    def __init__(self, timeout: float, stall_timeout: float) -> None:
        self._timeout = timeout
        self._stall_timeout = stall_timeout
        self._http: HTTPConnection | None = None
        self._socket: socket.socket | None = None  # `http.client` lets go of its own before the last answer is read
        self._origin = ""
        self.aborted = False

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str], method: str = "GET") -> Iterator[HTTPResponse]:
        """Ask, and have the answer's head; unless the body is then read to its end, the connection is closed.

        Raises:
            Failure: There is no answer.
        """
        response = self._ask(url, headers, method)
        try:
            yield response
            if response.length == 0:
                response.read()  # nothing: it lets the connection go on to the next request
        finally:
            if not response.isclosed():
                response.close()  # `http.client` does not know the last one of a connection any more
                self.close()

    def receive(self, response: HTTPResponse, buffer: memoryview) -> int:
        """Put the next bytes of the body into `buffer`, at least one, with a single `recv`.

        A reset would take what a fuller read had gathered with it.

        Raises:
            Failure: No byte came in time, or none comes any more.
        """
        with self._telling():
            got = _receive(response, buffer)
        if not got:
            early = f" {response.length} bytes early" if response.length else " early"
            raise Failure(FailureKind.CUT, f"the connection ended{early}")
        return got

    def read(self, response: HTTPResponse, most: int) -> bytes:
        """The whole body, of `most` bytes at most.

        Raises:
            Failure: It did not come.
        """
        with self._telling():
            body = response.read(most)
        if response.length and len(body) < most:
            raise Failure(FailureKind.CUT, f"the connection ended {response.length} bytes early")
        return body

    def abort(self) -> None:
        """End a request that is blocked in another thread, and every one after it until `aborted` is reset."""
        self.aborted = True
        line = self._socket
        if line is not None:
            with suppress(OSError):  # it may have ended by itself in this very moment
                # Not `line.shutdown`: with TLS that also drops the decryption, and the reader would be
                # handed what is still in the system's buffer as it came over the line.
                socket.socket.shutdown(line, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it; the next request opens another."""
        if self._http is not None:
            self._http.close()
            self._http = self._socket = None

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn the errors of reading into failures."""
        try:
            yield
        except TimeoutError as error:
            raise Failure(FailureKind.STALLED, f"no byte for {self._stall_timeout:g} s") from error
        except (OSError, HTTPException) as error:
            raise Failure(FailureKind.CUT, f"the connection broke: {reason(error)}") from error

    def _ask(self, url: str, headers: Mapping[str, str], method: str) -> HTTPResponse:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise Failure(FailureKind.ODD, "what was named is no address") from error
        reused = False
        try:
            reused = self._http is not None and self._http.sock is not None and self._origin == origin(parts)
            if not reused:
                self.close()
                self._http = connect(parts, self._timeout)
                self._socket, self._origin = self._http.sock, origin(parts)
            if self.aborted:  # while there was no connection yet that could have been shut down
                raise Failure(FailureKind.STALLED, "ended from outside")
            assert self._http is not None  # noqa: S101 - for the type checker
            self._http.sock.settimeout(self._stall_timeout)
            self._http.request(method, target(parts), headers=dict(headers))
            return self._http.getresponse()
        except (RemoteDisconnected, ConnectionError) as error:
            self.close()
            if reused and not self.aborted:  # the server had closed the idle connection: that is nobody's fault
                return self._ask(url, headers, method)
            if isinstance(error, ConnectionRefusedError):
                fail_to_connect(error, parts)
            where = origin(parts)
            detail = f"{parts.hostname} closed the connection before it answered"
            raise Failure(FailureKind.CUT, detail, where=where) from error
        except TimeoutError as error:
            if self._http is not None:
                self.close()
                raise Failure(FailureKind.STALLED, f"{parts.hostname} does not answer", where=origin(parts)) from error
            fail_to_connect(error, parts)
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            fail_to_connect(error, parts)


def connect(url: SplitResult, timeout: float) -> HTTPConnection:
    """A connection for a URL, opened through the proxy that the environment names for it.

    Raises:
        OSError: It cannot be opened within `timeout` seconds.
        ValueError: The URL is not one for HTTP.
    """
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError(f"not an HTTP address: {url.scheme}://{url.hostname}")
    host, port = url.hostname, url.port or {"http": 80, "https": 443}[url.scheme]
    proxy = proxy_for(url)
    connection: HTTPConnection
    if proxy is not None and url.scheme == "http" and not proxy.scheme.startswith("socks"):
        connection = Asking(proxy, host, port, timeout, _tls)
        connection.connect()
        return connection
    if url.scheme == "https":
        connection = HTTPSConnection(host, port, timeout=timeout, context=_tls())
    else:
        connection = HTTPConnection(host, port, timeout=timeout)
    if proxy is None:
        connection.connect()
        return connection
    line = through(proxy, host, port, timeout, _tls)
    connection.sock = _tls().wrap_socket(line, server_hostname=host) if url.scheme == "https" else line
    return connection


def origin(parts: SplitResult) -> str:
    """Scheme, host and port of a URL: where a connection leads, and whom a token is for."""
    return f"{parts.scheme}://{parts.hostname}:{_port(parts)}"


def target(parts: SplitResult) -> str:
    """What a request asks for: the URL's path and query."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _port(parts: SplitResult) -> int | None:
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _tls() -> ssl.SSLContext:
    """The certificates that are trusted: what SSL_CERT_FILE names, or the operating system's and what else is named."""
    said = environment()
    said.check()
    if said.ca_file or said.ca_folder:
        try:
            return ssl.create_default_context(cafile=said.ca_file or None, capath=said.ca_folder or None)
        except OSError as error:
            raise unusable("SSL_CERT_FILE", said.ca_file, "it holds no certificate that can be read") from error
    import truststore  # noqa: PLC0415 - only for https

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if said.extra[0]:
        with suppress(OSError):  # as if it were not there: other programs complain about it
            context.load_verify_locations(cafile=said.extra[0])
    return context


def _receive(response: HTTPResponse, buffer: memoryview) -> int:
    """One `recv` of the body into `buffer`.

    The response's own `readinto1` makes new `bytes` of the buffer's size each time and copies them.
    """
    if response.length is None:  # chunked, or to the end of the connection
        return response.readinto1(buffer)
    got = response.fp.readinto1(buffer[: response.length])
    response.length -= got
    return got
