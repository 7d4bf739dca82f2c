"""Small real proxies on loopback, of every kind, that note what they are asked for; and TLS in front of a Hub."""

from __future__ import annotations

import base64
import socket
import ssl
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

CERTIFICATE = Path(__file__).with_name("hub.pem")
NOWHERE = "127.0.0.77"  # nobody listens there: who gets an answer from it came through a proxy
LOGIN = ("me", "a/b#c@d e")


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=carry, args=(other, one), daemon=True)
    back.start()
    carry(one, other)
    back.join(5)


@dataclass
class Listener:
    """A server that handles each connection in a thread."""

    secure: bool = False
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with suppress(OSError), line:
            if self.secure:
                with tls().wrap_socket(line, server_side=True) as wrapped:
                    self.handle(wrapped)
            else:
                self.handle(line)

    def handle(self, line: socket.socket) -> None:
        raise NotImplementedError


@dataclass
class Front(Listener):
    """TLS in front of a server."""

    secure: bool = True
    behind: int = 0

    def handle(self, line: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self.behind)) as inner:
            pump(line, inner)


@dataclass
class HttpProxy(Listener):
    """CONNECT, and whole addresses for plain http; with `login`, nothing without it."""

    login: tuple[str, str] | None = None

    def handle(self, line: socket.socket) -> None:
        head = read_head(line)
        first, *rest = head.decode("latin-1").split("\r\n")
        method, url, _ = first.split(" ")
        headers = dict(pair.lower().split(": ", 1) for pair in rest if ": " in pair)
        self.asked.append(f"{method} {url}")
        if self.login is not None:
            words = base64.b64encode(":".join(self.login).encode()).decode()
            if headers.get("proxy-authorization") != f"basic {words}".lower():
                line.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
        if method == "CONNECT":
            with dial(url) as inner:
                line.sendall(b"HTTP/1.1 200 Go\r\n\r\n")
                pump(line, inner)
            return
        if not url.startswith("http://"):
            line.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        address, _, path = url.removeprefix("http://").partition("/")
        passed = [f"{method} /{path} HTTP/1.1", *(one for one in rest if not one.lower().startswith("proxy-"))]
        passed.insert(1, "Connection: close")  # one request each: enough here
        with dial(address) as inner:
            inner.sendall("\r\n".join(passed).encode("latin-1"))
            pump(line, inner)


@dataclass
class SocksProxy(Listener):
    """SOCKS 4, 4a and 5; with `login`, SOCKS 5 wants user and password and SOCKS 4 the user."""

    login: tuple[str, str] | None = None

    def handle(self, line: socket.socket) -> None:
        version = exactly(line, 1)
        target = self._five(line) if version == b"\5" else self._four(line)
        if target is None:
            return
        self.asked.append(target)
        with dial(target) as inner:
            line.sendall(b"\5\0\0\1" + bytes(6) if version == b"\5" else b"\0\x5a" + bytes(6))
            pump(line, inner)

    def _four(self, line: socket.socket) -> str | None:
        _, port = struct.unpack("!BH", exactly(line, 3))
        address = exactly(line, 4)
        user = zero_ended(line)
        if self.login is not None and user.decode() != self.login[0]:
            line.sendall(b"\0\x5d" + bytes(6))
            return None
        host = zero_ended(line).decode() if address[:3] == bytes(3) else socket.inet_ntoa(address)
        return f"{host}:{port}"

    def _five(self, line: socket.socket) -> str | None:
        exactly(line, exactly(line, 1)[0])
        line.sendall(b"\5\2" if self.login else b"\5\0")
        if self.login is not None:
            exactly(line, 1)
            given = tuple(exactly(line, exactly(line, 1)[0]).decode() for _ in range(2))
            line.sendall(b"\1\0" if given == self.login else b"\1\1")
            if given != self.login:
                return None
        kind = exactly(line, 4)[3]
        host = exactly(line, exactly(line, 1)[0]).decode() if kind == 3 else socket.inet_ntoa(exactly(line, 4))
        return f"{host}:{struct.unpack('!H', exactly(line, 2))[0]}"


def dial(address: str) -> socket.socket:
    """Whatever the name, it is on this machine."""
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 5)


def read_head(line: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += exactly(line, 1)
    return head


def exactly(line: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = line.recv(count - len(data))
        if not piece:
            raise ConnectionError("ended")
        data += piece
    return data


def zero_ended(line: socket.socket) -> bytes:
    text = b""
    while (byte := exactly(line, 1)) != b"\0":
        text += byte
    return text
