"""Measure what is wrong between here and the Hub: a few short, bounded looks, side by side.

Only looks; `verdict` says what it means. The endpoint is asked as a download asks it, with the token; no more
than a page and a byte is fetched.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from qwen_fetch.base.door import one_line
from qwen_fetch.base.waiting import Aside, call_with_ticks, within
from qwen_fetch.diagnosis.certificates import issuer_of
from qwen_fetch.transport.answers import check_data, circle, reason, redirected, said_by_caches
from qwen_fetch.transport.connection import Connection, connect, origin
from qwen_fetch.transport.endpoint import Endpoint
from qwen_fetch.transport.environment import environment
from qwen_fetch.transport.proxy import proxy_for
from qwen_fetch.transport.source import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from http.client import HTTPResponse

    from qwen_fetch.base.settings import Settings

__all__ = ["LOOK", "Answer", "Findings", "Reach", "probe"]

LOOK = 4.0  # seconds for each look
_NEUTRAL_NAME = "example.com"  # reserved for such uses; only its name is asked for
_NOWHERE = ("192.0.2.1", 9)  # reserved for documentation; nothing is sent there
_PAGE_BYTES = 4096
_MAX_REDIRECTS = 5


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
        failure: What is wrong with it, or why there was none; None: nothing.
        title: Of the page that came in its place, if it has one.
        skew: Seconds by which this machine's clock is ahead of the host's; None if it does not tell.
        location: Where it redirects to.
        is_object: Whether it begins as what the Hub says of a repo does.
        cache: What a cache on the way says of the answer (``X-Cache-Status``, ``X-Cache``, ``Via``), if there is one.
    """

    status: int = 0
    failure: Failure | None = None
    title: str = ""
    skew: float | None = None
    location: str = field(default="", repr=False)
    cache: str = ""
    is_object: bool = False


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was seen.

    Attributes:
        has_route: Whether the system knows a way out.
        neutral_name: A look-up of another name; empty: there was no reason to.
        endpoint: How far a connection to it gets.
        api: What it says about the repo and the revision.
        file: What it says about a file; None: none was asked for.
        token_refused: Whether `api` was asked again without the token, which was refused.
        data: How far a connection to the host of the bytes gets; None: no such host is known.
        data_answer: What that says when asked for one byte.
    """

    has_route: bool
    neutral_name: str
    endpoint: Reach
    api: Answer
    file: Answer | None = None
    token_refused: bool = False
    data: Reach | None = None
    data_answer: Answer | None = None


def probe(settings: Settings, path: str = "", bound: float = LOOK, token: str | None = None) -> Findings:
    """Look at the way to the Hub, and to the host that has the bytes of `path`.

    Args:
        settings: Which Hub and repo.
        path: A large file of the repo, whose redirect names the data host; empty: none.
        bound: Seconds for each look; all together take about four times that at most.
        token: The token for the endpoint; it is sent nowhere else.

    Raises:
        Problem: (usage, certificate-file) What the environment names cannot be used.
    """
    environment().check()
    hub = Endpoint(settings.hub_endpoint, token, bound)
    url = f"{hub.address}/api/models/{settings.repo_id}/revision/{quote(settings.revision, safe='')}"
    file_url = f"{hub.address}/{settings.repo_id}/resolve/{quote(settings.revision, safe='')}/{quote(path)}"
    proxied = bool(proxy_for(urlsplit(url)))
    reach = Aside(lambda: _reach(url, bound, via_proxy=proxied))
    asked = Aside(lambda: _ask_hub(url, bound, hub))
    file = _ask(file_url, bound, hub.headers(file_url), "HEAD") if path else None
    data = answer = None
    if file and (location := file.location):
        data_reach = Aside(lambda: _reach(location, bound, via_proxy=bool(proxy_for(urlsplit(location)))))
        answer = _ask(location, bound, hub.headers(location) | {"Range": "bytes=0-0"}, at_endpoint=hub.owns(location))
        data = data_reach.wait()
    endpoint, api = reach.wait(), asked.wait()
    token_refused = bool(token) and api.status == 401
    if token_refused:
        api = _ask_hub(url, bound, Endpoint(hub.address, None, bound))
    return Findings(
        has_route=_has_route(),
        # Other names are asked for only when there is a reason to.
        neutral_name=_look_up(_NEUTRAL_NAME, bound)[0] if endpoint.name not in {"", "ok"} else "",
        endpoint=endpoint,
        api=api,
        file=None if token_refused else file,
        token_refused=token_refused,
        data=data,
        data_answer=answer,
    )


def _reach(url: str, bound: float, *, via_proxy: bool) -> Reach:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if via_proxy:  # which looks the name up itself
        return Reach(host)
    name, addresses = _look_up(host, bound, port)
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
        return reason(error), ""
    return "ok", ""


def _ask(
    url: str, bound: float, headers: Mapping[str, str], method: str = "GET", *, at_endpoint: bool = True
) -> Answer:
    connection, body, wrong = Connection(bound, bound), b"", None
    parts = urlsplit(url)
    try:
        with within(bound, connection.abort), connection.get(url, headers, method) as response:
            moved = 300 <= response.status < 400
            try:
                if not moved:
                    check_data(response, parts, "an answer", at_endpoint=at_endpoint)
            except Failure as failure:
                wrong = failure
            with suppress(Failure):  # the answer is what counts
                body = connection.read(response, _PAGE_BYTES)
    except Failure as failure:
        if not connection.aborted:
            return Answer(failure=failure)
        detail = f"{parts.hostname} did not answer within {bound:g} s"
        return Answer(failure=Failure(FailureKind.STALLED, detail, where=origin(parts)))
    finally:
        connection.close()
    title = re.search(rb"<title[^>]*>(.*?)</title>", body, re.IGNORECASE | re.DOTALL)
    return Answer(
        status=response.status,
        failure=wrong,
        title=one_line(unescape(title[1].decode("utf-8", "replace"))) if title else "",
        skew=_skew(response),
        location=urljoin(url, response.headers.get("Location", "")) if moved else "",
        cache=said_by_caches(response),
        is_object=body.lstrip().startswith(b"{"),
    )


def _ask_hub(url: str, bound: float, hub: Endpoint) -> Answer:
    """The answer to a question about the repo, wherever that leads; it has to be what such an answer is."""
    for _ in range(_MAX_REDIRECTS):
        answer = _ask(url, bound, hub.headers(url))
        if not answer.location:
            break
        try:
            url = redirected(url, answer.location)
        except Failure as failure:
            return replace(answer, failure=failure)
    else:
        return replace(answer, failure=circle(urlsplit(url)))
    if answer.status != 200 or answer.failure or answer.is_object:
        return answer
    detail = f"{urlsplit(url).hostname} sent something else than what was asked for"
    return replace(answer, failure=Failure(FailureKind.ODD, detail, status=200, where=hub.address))


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
        return reason(error)
