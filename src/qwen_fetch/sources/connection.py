"""Connections for URLs: through the proxy that the environment names, with the certificates that the system trusts."""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

__all__ = ["connect", "origin", "proxy_for", "shown", "target"]


def shown(url: str) -> str:
    """A URL as it may be shown: without its query (where signatures are) and without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def connect(url: SplitResult, timeout: float) -> HTTPConnection:
    """A connection for a URL, opened through the proxy that the environment names for it.

    Raises:
        OSError: It cannot be opened within `timeout` seconds.
        ValueError: The URL is not one for HTTP.
    """
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError(f"not an HTTP address: {url.scheme}://{url.hostname}")
    host, port, secure = url.hostname, url.port, url.scheme == "https"
    proxy = urlsplit(proxy_for(url))
    via_host, via_port = (proxy.hostname, proxy.port or 80) if proxy.hostname else (host, port)
    connection = (
        HTTPSConnection(via_host, via_port, timeout=timeout, context=_tls())
        if secure
        else HTTPConnection(via_host, via_port, timeout=timeout)
    )
    if proxy.hostname:
        login = {}
        if proxy.username:
            words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
            login["Proxy-Authorization"] = f"Basic {b64encode(words.encode()).decode()}"
        connection.set_tunnel(host, port, headers=login)
    connection.connect()
    return connection


def proxy_for(url: SplitResult) -> str:
    """The proxy that the environment names for a URL, as a URL; empty for none."""
    host = url.hostname or ""
    # NO_PROXY may name a host, or a host and a port.
    if proxy_bypass(host) or proxy_bypass(f"{host}:{_port(url)}"):
        return ""
    proxy = getproxies().get(url.scheme, "")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def origin(parts: SplitResult) -> str:
    """Scheme, host and port of a URL: where a connection leads, and whom a token is for."""
    return f"{parts.scheme}://{parts.hostname}:{_port(parts)}"


def target(parts: SplitResult) -> str:
    """What a request asks for: the URL's path and query."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _port(parts: SplitResult) -> int | None:
    return parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _tls() -> ssl.SSLContext:
    """The certificates that the Hub client trusts: the operating system's, or what SSL_CERT_FILE names."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context()
    import truststore  # noqa: PLC0415 - only for https

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
