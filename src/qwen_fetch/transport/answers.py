"""What an answer says that does not bring bytes, and what an error says when there is none: each is a `Failure`."""

from __future__ import annotations

import errno
import json
import re
import socket
import ssl
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http.client import HTTPException, InvalidURL
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, urljoin, urlsplit

from qwen_fetch.base.door import one_line
from qwen_fetch.transport.proxy import ProxyError
from qwen_fetch.transport.source import Failure, FailureKind

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.parse import SplitResult

__all__ = [
    "check_data",
    "circle",
    "fail",
    "fail_to_connect",
    "linked_etag",
    "reason",
    "redirected",
    "said_by_caches",
    "stated_range",
]


_MOST_SAID = 4096  # bytes of a body that says what is wrong
_OF_THIS_MACHINE = {errno.EMFILE, errno.ENFILE}  # no more descriptors: nobody on the way is at fault
_GONE = {401, 402, 403, 404, 410, 451}
_CERTIFICATES = {  # by what OpenSSL, Windows and macOS call it
    **dict.fromkeys((9, 10, 0x800B0101, -67818), FailureKind.EXPIRED),
    **dict.fromkeys((62, 64, 0x800B010F, -67602), FailureKind.OTHER_HOST),
}
_IN_AN_ADDRESS = "%:/?#[]@!$&'()*+,;=~"  # RFC 3986: whatever has a meaning, and what is escaped already
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


def check_data(response: HTTPResponse, parts: SplitResult, what: str, *, at_endpoint: bool) -> None:
    """Whether an answer brings bytes, all of them or a range.

    Raises:
        Failure: It says something else.
    """
    if response.status not in {200, 206}:
        fail(response, parts, at_endpoint=at_endpoint)
    if "html" in response.headers.get("Content-Type", ""):
        where = _origin(parts)
        raise Failure(FailureKind.NOT_DATA, f"{parts.hostname} sent a page instead of {what}", where=where)
    if (coding := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise Failure(FailureKind.ENCODED, f"{parts.hostname} sent it in the coding {one_line(coding, 20)}, unasked")


def stated_range(response: HTTPResponse, parts: SplitResult, start: int, end: int) -> str:
    """Check that a partial answer is what was asked for, bytes `start` to `end` (excluded) or fewer.

    Returns:
        How long it says that the whole is.

    Raises:
        Failure: It is another range.
    """
    stated = response.headers.get("Content-Range", "")
    if not stated and response.length == end - start:
        return "*"  # as long as what was asked for; the digest will tell
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", stated, re.IGNORECASE)
    if not match or int(match[1]) != start or int(match[2]) >= end:
        raise Failure(
            FailureKind.WRONG_RANGE, f"{parts.hostname} sent {stated!r} when asked for bytes {start}-{end - 1}"
        )
    return match[3]


def fail(response: HTTPResponse, parts: SplitResult, *, at_endpoint: bool) -> NoReturn:
    """Raise what a status other than 200 and 206 means."""
    status = response.status
    said = _said(response) if at_endpoint else ""
    detail = f"{parts.hostname} answered {status} {one_line(response.reason)}".rstrip()
    detail += f": {said}" if said else ""
    retry_after, where = _asked_pause(response), _origin(parts)
    if status == 407:
        seen = f"the proxy: {status} {one_line(response.reason)}".rstrip()
        raise Failure(FailureKind.PROXY_LOGIN, seen, status=status, where=where)
    if status == 416:
        raise Failure(FailureKind.WRONG_LENGTH, detail, status=status, where=where)
    if status in _GONE and not at_endpoint:
        raise Failure(FailureKind.REFUSED, detail, status=status, where=where)
    code = one_line(response.headers.get("X-Error-Code", "")) if at_endpoint else ""
    if status in _GONE:
        kind = FailureKind.MISSING if status in {404, 410} else FailureKind.DENIED
    elif status == 429:
        kind = FailureKind.THROTTLED
    else:
        kind = FailureKind.SERVER if status >= 500 and status != 501 else FailureKind.ODD
    raise Failure(kind, detail, retry_after, status=status, code=code, said=said, where=where)


def _said(response: HTTPResponse) -> str:
    """What the Hub says is wrong, in a header or in JSON."""
    said: object = response.headers.get("X-Error-Message", "")
    if not said and "json" in response.headers.get("Content-Type", "") and (response.length or 0) <= _MOST_SAID:
        with suppress(OSError, HTTPException, ValueError, RecursionError, AttributeError):
            said = json.loads(response.read(_MOST_SAID)).get("error", "")
    return one_line(said) if isinstance(said, str) else ""


def fail_to_connect(error: Exception, parts: SplitResult) -> NoReturn:
    """Raise what it means that there is no connection.

    Raises:
        Failure: That.
        OSError: It is this machine that cannot open one.
    """
    if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
        raise error
    kind = _kind_of(error)
    raise Failure(kind, f"{one_line(parts.hostname or '')}: {reason(error)}", where=_origin(parts)) from error


def _origin(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _kind_of(error: Exception) -> FailureKind:
    if isinstance(error, ProxyError):
        return error.kind
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(error.verify_code, FailureKind.UNTRUSTED)
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        return FailureKind.NOT_TLS
    if isinstance(error, socket.gaierror):
        return FailureKind.NO_NAME
    if isinstance(error, (HTTPException, UnicodeError, ValueError)):  # another protocol, or nothing to be sent
        return FailureKind.ODD
    return FailureKind.CLOSED if isinstance(error, ConnectionRefusedError) else FailureKind.UNREACHABLE


def linked_etag(response: HTTPResponse) -> str:
    """The digest of a large file, as the endpoint gives it on the way to its bytes; empty where it does not."""
    return response.headers.get("X-Linked-Etag", "").removeprefix("W/").strip('"').lower()


def said_by_caches(response: HTTPResponse) -> str:
    """What a cache on the way says of an answer (``X-Cache-Status``, ``X-Cache``, ``Via``), if there is one."""
    said = (response.headers.get(name, "") for name in ("X-Cache-Status", "X-Cache", "Via"))
    return one_line(next(filter(None, said), ""))


def circle(parts: SplitResult) -> Failure:
    """What it means that one redirect follows another."""
    return Failure(FailureKind.ODD, f"{one_line(parts.hostname or '')} redirects in a circle")


def redirected(url: str, location: str) -> str:
    """Where a redirect from `url` leads.

    Raises:
        Failure: To what is no other address.
    """
    with suppress(ValueError):
        # Servers send blanks and letters beyond ASCII as they are, which `http.client` reads as Latin-1.
        led = urljoin(url, quote(location.strip().encode("latin-1", "replace"), safe=_IN_AN_ADDRESS))
        parts = urlsplit(led)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and led != url:
            return led
    raise Failure(FailureKind.ODD, f"{one_line(urlsplit(url).hostname or '')} redirects to what is no other address")


def reason(error: Exception) -> str:
    """An error in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {one_line(error.verify_message)}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror).lower()
    if isinstance(error, InvalidURL) or "header value" in str(error):
        return "an address or a token that cannot be sent"  # the error shows it, and it may be secret
    return one_line(str(error)) or type(error).__name__


def _asked_pause(response: HTTPResponse) -> float | None:
    """Seconds the server asks to wait: `Retry-After` (seconds or a date), or the Hub's `RateLimit: "api";r=0;t=55`."""
    wait = response.headers.get("Retry-After", "")
    if re.fullmatch(r"\d{1,6}", wait, re.ASCII):
        return float(wait)
    with suppress(ValueError, OverflowError, OSError):
        return max(0.0, parsedate_to_datetime(wait).timestamp() - time.time())
    limit = re.search(r"\br=0\b.*?\bt=(\d{1,6})\b", response.headers.get("RateLimit", ""), re.ASCII)
    return float(limit[1]) + 1 if limit else None
