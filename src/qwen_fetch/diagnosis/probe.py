"""Measure what is wrong between here and the Hub: a few short, bounded looks, side by side.

Only looks; `verdict` says what it means. No token is sent, and nothing but a page and a byte is fetched.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from qwen_fetch.base.door import one_line
from qwen_fetch.base.waiting import Aside, call_with_ticks, within
from qwen_fetch.diagnosis.certificates import issuer_of
from qwen_fetch.transport.connection import HEADERS, Connection, connect
from qwen_fetch.transport.proxy import proxy_for
from qwen_fetch.transport.source import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from http.client import HTTPResponse

    from qwen_fetch.base.settings import Settings

__all__ = ["LOOK", "Answer", "Findings", "Reach", "probe"]

LOOK = 4.0  # seconds for each look
_NEUTRAL_NAME = "example.com"  # reserved for such uses; only its name is asked for
_NOWHERE = ("192.0.2.1", 9)  # reserved for documentation; nothing is sent there
_PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a connection to a host gets. An empty text means it was not tried, "ok" that it works.

    Attributes:
        host: Its name.
        name: The name, asked for at the name server.
        ipv4: A connection to the first IPv4 address.
        ipv6: The same over IPv6.
        tls: The handshake; "ok", or why the certificate is not accepted.
        issuer: Who issued a certificate that is not accepted.
    """

    host: str
    name: str = ""
    ipv4: str = ""
    ipv6: str = ""
    tls: str = ""
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host says over HTTP.

    Attributes:
        status: The status; 0 when there was no answer.
        detail: Why there was none.
        page: Whether it is a web page, and its title.
        skew: Seconds by which this machine's clock is ahead of the host's; None if it does not tell.
        location: Where it redirects to, without the query.
    """

    status: int = 0
    detail: str = ""
    page: bool = False
    title: str = ""
    skew: float | None = None
    location: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was seen."""

    has_route: bool
    neutral_name: str
    proxy: str
    proxy_reach: str
    endpoint: Reach
    api: Answer
    data: Reach | None = None
    data_answer: Answer | None = None


def probe(settings: Settings, path: str = "", bound: float = LOOK) -> Findings:
    """Look at the way to the Hub, and to the host that has the bytes of `path`.

    Args:
        settings: Which Hub and repo.
        path: A large file of the repo, whose redirect names the data host; empty: none.
        bound: Seconds for each look; all together take about three times that at most.
    """
    url = f"{settings.hub_endpoint}/api/models/{settings.repo_id}"
    file_url = f"{settings.hub_endpoint}/{settings.repo_id}/resolve/{settings.revision}/{path}"
    proxy = proxy_for(urlsplit(url))
    reach = Aside(lambda: _reach(url, bound, via_proxy=bool(proxy)))
    api = Aside(lambda: _ask(url, bound))
    via = Aside(lambda: _connect(proxy.host, proxy.port, bound)) if proxy else None
    redirect = _ask(file_url, bound, "HEAD") if path else None
    data = answer = None
    if redirect and (location := redirect.location):
        data_reach = Aside(lambda: _reach(location, bound, via_proxy=bool(proxy_for(urlsplit(location)))))
        answer = _ask(location, bound, "GET", {"Range": "bytes=0-0"})
        data = data_reach.wait()
    endpoint = reach.wait()
    return Findings(
        has_route=_has_route(),
        # Other names are asked for only when there is a reason to.
        neutral_name=_look_up(_NEUTRAL_NAME, bound)[0] if endpoint.name != "ok" else "",
        proxy=str(proxy or ""),
        proxy_reach=via.wait() if via else "",
        endpoint=endpoint,
        api=api.wait(),
        data=data,
        data_answer=answer,
    )


def _reach(url: str, bound: float, *, via_proxy: bool) -> Reach:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    name, addresses = _look_up(host, bound, port)
    if via_proxy:
        return Reach(host, name)
    tried = {}
    for family, label in ((socket.AF_INET, "ipv4"), (socket.AF_INET6, "ipv6")):
        first = next((address for kind, address in addresses if kind == family), None)
        tried[label] = _connect(*first, bound) if first else ""
    tls = issuer = ""
    if parts.scheme == "https" and "ok" in tried.values():
        tls, issuer = _handshake(url, bound)
    return Reach(host, name, tried["ipv4"], tried["ipv6"], tls, issuer)


def _look_up(host: str, bound: float, port: int = 443) -> tuple[str, Sequence[tuple[int, tuple[str, int]]]]:
    """Ask for a name; the resolver has no time limit of its own."""
    result: list[tuple[int, tuple[str, int]]] = []

    def ask() -> str:
        for kind, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            result.append((kind, (str(address[0]), int(address[1]))))
        return "ok"

    return _bounded(ask, bound), result


def _connect(host: str, port: int, bound: float) -> str:
    def ask() -> str:
        socket.create_connection((host, port), timeout=bound).close()
        return "ok"

    return _bounded(ask, bound)


def _handshake(url: str, bound: float) -> tuple[str, str]:
    try:
        connect(urlsplit(url), bound).close()
    except ssl.SSLCertVerificationError as error:
        return f"not trusted: {error.verify_message}", issuer_of(url, bound)
    except (OSError, ValueError) as error:
        return _words(error), ""
    return "ok", ""


def _ask(url: str, bound: float, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    connection = Connection(bound, bound)
    try:
        with within(bound, connection.abort), connection.get(url, HEADERS | (headers or {}), method) as response:
            body = b""
            with suppress(Failure):  # the answer is what counts
                body = connection.read(response, _PAGE_BYTES)
    except Failure as failure:
        return Answer(detail=_words(failure.__cause__) if isinstance(failure.__cause__, OSError) else failure.detail)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return Answer(detail=_words(error))
    finally:
        connection.close()
    title = re.search(rb"<title[^>]*>(.*?)</title>", body, re.IGNORECASE | re.DOTALL)
    return Answer(
        status=response.status,
        page="html" in response.headers.get("Content-Type", "") and response.status < 300,
        title=one_line(unescape(title[1].decode("utf-8", "replace"))) if title else "",
        skew=_skew(response),
        location=urljoin(url, response.headers.get("Location", "")) if 300 <= response.status < 400 else "",
    )


def _skew(response: HTTPResponse) -> float | None:
    try:
        return time.time() - parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (TypeError, ValueError, KeyError):
        return None


def _has_route() -> bool:
    """Whether the system knows a way out. Connecting a datagram socket asks its routes and sends nothing."""
    for family, address in ((socket.AF_INET, _NOWHERE), (socket.AF_INET6, ("2001:db8::1", 9))):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asked:
                asked.connect(address)
        except OSError:
            continue
        return True
    return False


def _bounded(ask: Callable[[], str], bound: float) -> str:
    """The result of a look, or why it failed, within `bound` seconds."""
    try:
        return call_with_ticks(ask, bound=bound)
    except TimeoutError:
        return f"no answer within {bound:g} s"
    except OSError as error:
        return _words(error)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return one_line(str(error)) or type(error).__name__
