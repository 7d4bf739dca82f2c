"""Sources and what they talk to: a server on loopback that answers from a script, to the byte, and a way to read.

The script may hold what no well-behaved server would send.
"""

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Self

from qwen_fetch.base.files import RepoFile
from qwen_fetch.transport.source import Failure, Source

DATA = bytes(i * 7 % 251 for i in range(1000))  # the file that the scripts are about


@dataclass(frozen=True)
class Reply:
    """One answer, as raw bytes, and what becomes of the connection afterwards."""

    head: str
    body: bytes = b""
    then: Literal["keep", "close", "reset", "hang"] = "keep"

    @property
    def raw(self) -> bytes:
        lines = [line.strip() for line in self.head.strip().splitlines()]
        if not lines:
            return self.body
        if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([f"HTTP/1.1 {lines[0]}", *lines[1:], "", ""]).encode() + self.body


LOGIN_PAGE = Reply("200 OK\nContent-Type: text/html; charset=utf-8", b"<html>Please log in</html>")


@dataclass
class Asked:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    connection: int


@dataclass
class Scripted:
    """The server; `replies` are used up in order, whatever is asked over whichever connection."""

    replies: list[Reply] = field(default_factory=list)
    always: Reply | None = None
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._closed = threading.Event()
        self.hanging = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def ranges(self) -> list[str]:
        """The `Range` headers so far, without their unit."""
        return [asked.headers.get("range", "").removeprefix("bytes=") for asked in self.asked]

    def _accept(self) -> None:
        number = 0
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                number += 1
                with self._lock:
                    self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError), self.wrap(connection) as connection:  # noqa: PLR1704 - the same one, wrapped
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as lines:
                while line := lines.readline().decode("latin-1").strip():
                    pairs = iter(lambda: lines.readline().decode("latin-1").strip(), "")
                    headers = {name.lower(): value.strip() for name, _, value in (p.partition(":") for p in pairs)}
                    with self._lock:
                        self.asked.append(Asked(line, headers, number))
                        reply = self.replies.pop(0) if self.replies else self.always
                    if reply is None or not self.answer(connection, line, reply):
                        return

    def wrap(self, connection: socket.socket) -> socket.socket:
        """For subclasses that speak TLS."""
        return connection

    def answer(self, connection: socket.socket, line: str, reply: Reply) -> bool:  # noqa: ARG002 - for subclasses
        """Send a reply to the request `line`; returns whether the connection goes on."""
        connection.sendall(reply.raw)
        if reply.then == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reply.then == "hang":
            self.hanging.set()
            self._closed.wait(20)
        return reply.then == "keep"


def fetch(source: Source, file: RepoFile, start: int, end: int) -> tuple[bytes, Failure | None]:
    """Read a window; returns what came, and the failure if that was not all."""
    got = bytearray()
    try:
        for piece in source.window(file, start, end):
            got += piece
    except Failure as failure:
        return bytes(got), failure
    return bytes(got), None
