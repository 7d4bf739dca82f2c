"""The way through a proxy: which one the environment names for an address, and a socket that leads through it.

HTTP by CONNECT, and for plain http by asking for the whole address; TLS to the proxy; SOCKS, which VPN clients name in
``ALL_PROXY``. ``NO_PROXY`` is read as curl reads it.
"""

from __future__ import annotations

import ipaddress
import re
import selectors
import socket
import ssl
import threading
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import proxy_bypass

from qwen_fetch.base import catalogue
from qwen_fetch.base.problem import Problem
from qwen_fetch.transport.environment import environment
from qwen_fetch.transport.source import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Asking", "Proxy", "ProxyError", "bypasses", "proxy_for", "through"]

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_PIECE = 1 << 16
_ADDRESS = "wants an address such as http://proxy:8080 or socks5h://127.0.0.1:1080"


class ProxyError(OSError):
    """The proxy is in the way.

    Args:
        kind: How: out of reach, it wants a login, or it refuses.
        detail: Which proxy, and what was seen.
    """

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: ``http``, ``https`` (TLS to the proxy), ``socks4``, ``socks4a``, ``socks5``, ``socks5h``.
        host: Its name or address.
        port: Its port.
        user: Whom to log in as; empty: nobody.
        password: With what; never shown.
    """

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """As it may be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def login(self) -> dict[str, str]:
        """The header that logs in at an HTTP proxy; none without a user."""
        if not self.user:
            return {}
        words = f"{self.user}:{self.password}".encode()
        return {"Proxy-Authorization": f"Basic {b64encode(words).decode()}"}


def proxy_for(url: SplitResult) -> Proxy | None:
    """The proxy that the environment (or on Windows and macOS the system) names for an address; None for none.

    Raises:
        Problem: (usage) What it names cannot be one; it is not repeated, for it may hold a password.
    """
    said = environment()
    host, port = url.hostname or "", url.port or _PORTS.get(url.scheme, 0)
    text, source = said.proxies.get(url.scheme) or said.proxies.get("all", ("", ""))
    if not text or (proxy_bypass(host) if said.system else bypasses(host, port, said.no_proxy)):
        return None
    return _parse(text, source)


def bypasses(host: str, port: int, rules: str) -> bool:
    """Whether a host is to be reached without a proxy.

    Args:
        host: Its name or address, without brackets.
        port: The port.
        rules: As in ``NO_PROXY``: names (and all below them, with or without a leading dot), addresses, networks in
            CIDR, each with or without a port; ``*`` for everything; apart by commas or blanks.
    """
    name = host.lower().rstrip(".")
    with suppress(ValueError):
        name = str(ipaddress.ip_address(name))
    return any(_matches(name, port, rule) for rule in re.split(r"[,\s]+", rules.lower()) if rule)


def _matches(name: str, port: int, rule: str) -> bool:
    if rule == "*":
        return True
    match = re.fullmatch(r"\[([^\]]*)\](?::(\d+))?|([^:]*):(\d+)|(.*)", rule)
    assert match is not None  # noqa: S101 - the last way takes anything
    asked = match[1] or match[3] or match[5] or ""
    wanted = match[2] or match[4]
    if wanted and int(wanted) != port:
        return False
    with suppress(ValueError):
        return ipaddress.ip_address(name) in ipaddress.ip_network(asked, strict=False)
    suffix = asked.removeprefix("*").strip(".")
    return bool(suffix) and (name == suffix or name.endswith(f".{suffix}"))


def _parse(text: str, source: str) -> Proxy:
    # By hand: a password may hold what no URL may.
    scheme, _, rest = text.strip().rpartition("://")
    login, _, address = rest.rpartition("@")
    user, _, password = login.partition(":")
    with suppress(ValueError):
        parts = urlsplit(f"//{address.rstrip('/')}")
        scheme = {"": "http", "socks": "socks5"}.get(scheme.lower(), scheme.lower())
        if scheme in _PORTS and parts.hostname and re.fullmatch(r"[\w.:%-]+", parts.hostname) and not parts.path:
            return Proxy(scheme, parts.hostname, parts.port or _PORTS[scheme], unquote(user), unquote(password))
    raise Problem(catalogue.USAGE, detail=f"{source} {_ADDRESS}.")


def through(proxy: Proxy, host: str, port: int, timeout: float, tls: Callable[[], ssl.SSLContext]) -> socket.socket:
    """A socket that leads to a host through a proxy.

    Args:
        proxy: Which.
        host: Where to.
        port: Its port.
        timeout: Seconds for all of it.
        tls: The certificates to trust, for a proxy that is spoken to in TLS.

    Raises:
        ProxyError: The proxy cannot be reached, or refuses.
    """
    if proxy.scheme.startswith("socks"):
        return _socks(proxy, host, port, timeout)
    line = _reach(proxy, timeout, tls)
    if isinstance(line, ssl.SSLSocket):
        line = _relayed(line, timeout)
    try:
        head = f"CONNECT {_bracketed(host)}:{port} HTTP/1.1\r\nHost: {_bracketed(host)}:{port}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in proxy.login.items())
        line.sendall(f"{head}\r\n".encode("latin-1"))
        _read_consent(line, proxy)
    except BaseException:
        line.close()
        raise
    return line


def _reach(proxy: Proxy, timeout: float, tls: Callable[[], ssl.SSLContext]) -> socket.socket:
    """A socket to a proxy that speaks HTTP."""
    try:
        line = socket.create_connection((proxy.host, proxy.port), timeout)
        return tls().wrap_socket(line, server_hostname=proxy.host) if proxy.scheme == "https" else line
    except OSError as error:
        seen = (error.strerror or str(error)).lower() if not isinstance(error, TimeoutError) else "no answer in time"
        raise ProxyError(FailureKind.PROXY_AWAY, f"the proxy {proxy}: {seen}") from error


class Asking(HTTPConnection):
    """A connection to an HTTP proxy that is asked for whole addresses, as plain http is.

    Args:
        proxy: Which.
        host: Whose addresses.
        port: Its port.
        timeout: Seconds for a connection.
        tls: The certificates to trust, for a proxy that is spoken to in TLS.
    """

    def __init__(self, proxy: Proxy, host: str, port: int, timeout: float, tls: Callable[[], ssl.SSLContext]) -> None:
        super().__init__(host, port, timeout=timeout)
        self._proxy = proxy
        self._tls = tls

    def connect(self) -> None:
        """Open it."""
        assert self.timeout is not None  # noqa: S101 - for the type checker
        self.sock = _reach(self._proxy, self.timeout, self._tls)

    def putrequest(self, method: str, url: str, *given: Any, **more: Any) -> None:
        """Begin a request."""
        super().putrequest(method, f"http://{_bracketed(self.host)}:{self.port}{url}", *given, **more)
        for name, value in self._proxy.login.items():
            self.putheader(name, value)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _read_consent(line: socket.socket, proxy: Proxy) -> None:
    """Read the answer to CONNECT, and not a byte more: what follows it is the host's."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = line.recv(1)
        if not byte or len(head) > _PIECE:
            raise ProxyError(FailureKind.PROXY_AWAY, f"the proxy {proxy}: it closed the connection")
        head += byte
    status = head.split(b"\r\n")[0].decode("latin-1").split(" ", 2)
    if len(status) < 2 or status[1] != "200":
        kind = {"407": FailureKind.PROXY_LOGIN, "403": FailureKind.PROXY_REFUSES}.get("".join(status[1:2]))
        raise ProxyError(kind or FailureKind.PROXY_AWAY, f"the proxy {proxy}: {' '.join(status[1:])[:80]}")


def _socks(proxy: Proxy, host: str, port: int, timeout: float) -> socket.socket:
    from python_socks import ProxyConnectionError, ProxyTimeoutError, ProxyType  # noqa: PLC0415 - rarely
    from python_socks import ProxyError as Refused  # noqa: PLC0415 - as above
    from python_socks.sync import Proxy as Socks  # noqa: PLC0415 - as above

    kind = ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5
    far_names = proxy.scheme in {"socks4a", "socks5h"}
    way = Socks(kind, proxy.host, proxy.port, proxy.user or None, proxy.password or None, rdns=far_names)
    try:
        return way.connect(host, port, timeout=timeout)
    except ProxyTimeoutError as error:
        raise ProxyError(FailureKind.PROXY_AWAY, f"the proxy {proxy}: no answer in time") from error
    except ProxyConnectionError as error:
        seen = error.__cause__ or error.__context__
        why = seen.strerror.lower() if isinstance(seen, OSError) and seen.strerror else str(error)
        raise ProxyError(FailureKind.PROXY_AWAY, f"the proxy {proxy}: {why}") from error
    except Refused as error:
        raise ProxyError(_refusal_of(error), f"the proxy {proxy}: {error}") from error


def _refusal_of(error: Exception) -> FailureKind:
    """What a SOCKS proxy means: a login, a rule, or that it does not get through either."""
    said = str(error).lower()
    if any(word in said for word in ("authent", "username", "user-id", "identd")):
        return FailureKind.PROXY_LOGIN
    return FailureKind.PROXY_REFUSES if "ruleset" in said or "not allowed" in said else FailureKind.PROXY_AWAY


def _relayed(line: ssl.SSLSocket, timeout: float) -> socket.socket:
    """A plain socket in front of an encrypted one, so that TLS can be spoken through TLS."""
    near, far = socket.socketpair()
    near.settimeout(timeout)
    threading.Thread(target=_relay, args=(far, line), daemon=True).start()
    return near


def _relay(plain: socket.socket, secure: ssl.SSLSocket) -> None:
    secure.setblocking(False)
    with plain, secure, suppress(OSError), selectors.DefaultSelector() as ready:
        ready.register(plain, selectors.EVENT_READ)
        ready.register(secure, selectors.EVENT_READ)
        while True:
            sources = [key.fileobj for key, _ in ready.select(0 if secure.pending() else None)]
            if plain in sources:
                piece = plain.recv(_PIECE)
                if not piece:
                    return
                _send(secure, piece)
            if secure in sources or secure.pending():
                with suppress(ssl.SSLWantReadError):
                    piece = secure.recv(_PIECE)
                    if not piece:
                        return
                    plain.sendall(piece)


def _send(secure: ssl.SSLSocket, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        try:
            view = view[secure.send(view) :]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            with selectors.DefaultSelector() as ready:
                ready.register(secure, selectors.EVENT_WRITE | selectors.EVENT_READ)
                ready.select()
