"""HTTP plumbing: connections, the log, faults, rates, and bytes onto the wire."""

import contextlib
import itertools
import os
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qwen_fetch.localhub.faults import Fault
from qwen_fetch.localhub.log import DATA_KINDS, Request
from qwen_fetch.localhub.pace import Pacer, quantum
from qwen_fetch.localhub.replies import Reply, altered
from qwen_fetch.localhub.site import Site

__all__ = ["ConnectionEndedError", "Handler", "Server"]

_BUFFER = 512 << 10  # bytes read and sent at a time when no rate is set
_SENDFILE = 1 << 20  # bytes handed to the kernel at a time
_DRAIN = 0.5  # seconds to let the last bytes out before a connection is reset


class ConnectionEndedError(ConnectionError):
    """The hub closes, or the connection has been ended on purpose: nothing more is to be sent."""


class Server(ThreadingHTTPServer):
    """Knows its open connections, so that closing leaves none behind."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type["Handler"], site: Site) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.site = site
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, name="localhub", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Bind without the look-up of the host's name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(os.name == "posix"))
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection and serve it in a thread."""
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection and forget it."""
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about a client that went away; that is what clients do here."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def stop(self) -> None:
        """Stop listening and end every connection."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, timeout=5)


class Handler(BaseHTTPRequestHandler):
    """One connection. Subclasses say what a request deserves; this sends it, as well as the faults allow."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    _numbers = itertools.count(1)

    def setup(self) -> None:
        """Begin a connection."""
        super().setup()
        self.site = self.server.site
        self._number = next(self._numbers)
        self._carried = 0  # bytes of bodies over this connection
        self._pacer = Pacer()

    def respond(self) -> None:
        """Answer a request, whatever its method."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer GET."""
        self.respond()

    def do_HEAD(self) -> None:
        """Answer HEAD."""
        self.respond()

    def do_POST(self) -> None:
        """Answer POST."""
        self.respond()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name is the base class's)
        """Say nothing: the hub has its own log."""

    def answer(self, kind: str, path: str, weight: bool, reply: Reply) -> None:
        """Note the request, let the faults at the reply, and send what they leave."""
        request = Request(
            kind=kind,
            method=self.command,
            path=path,
            range=self.headers.get("Range"),
            weight=weight,
            headers={name.lower(): value for name, value in self.headers.items()},
            connection=self._number,
        )
        self.site.log.begin(request)
        span = reply.body.span(reply.start, reply.end)
        faults = self.site.faults.take(kind, path, span, reply.length, self._carried)
        reply = altered(reply, faults)
        try:
            self._pause(self.site.latency + sum(fault.delay or 0.0 for fault in faults))
            for fault in faults:
                if fault.close_at_once:
                    self._end(reset=fault.reset)
            self._send(request, reply)
        finally:
            reply.body.close()
            self.site.log.end(request)

    def _send(self, request: Request, reply: Reply) -> None:
        request.status = reply.status
        self.send_response(reply.status)
        for name, value in reply.all_headers().items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        limit, fault = self._limit(reply)
        self._send_body(request, reply, limit)
        if fault is not None:
            if fault.silent_after is not None:
                self._stay_silent()
            self._end(reset=fault.reset)

    def _limit(self, reply: Reply) -> tuple[int, Fault | None]:
        """Return how many bytes of the body to send, and the fault that keeps the rest back."""
        fault = reply.cut
        if fault is None:
            return reply.length, None
        after = fault.cut_after if fault.cut_after is not None else fault.silent_after
        limit = (after or 0) - (self._carried if fault.per_connection else 0)
        return min(reply.length, max(0, limit)), fault

    def _send_body(self, request: Request, reply: Reply, limit: int) -> None:
        """Send `limit` bytes. Rates are looked up for every piece: they may change at any time."""
        slow = Pacer()
        buffer = memoryview(b"")
        raw = reply.body.raw()
        sent = 0
        while sent < limit:
            if self.site.closing.is_set():
                raise ConnectionEndedError
            lanes = [(slow, reply.slow)]
            if request.kind in DATA_KINDS:
                lanes += [(self.site.line, self.site.line_rate), (self._pacer, self.site.connection_rate)]
            rates = [(pacer, rate) for pacer, rate in lanes if rate]
            if sys.platform != "win32" and raw is not None and not rates:  # where there is sendfile
                count = min(limit - sent, _SENDFILE)
                self._count(request, count)
                done = os.sendfile(self.connection.fileno(), raw.fileno(), reply.start + sent, count)
                self._count(request, done - count)
                if done == 0:
                    raise ConnectionEndedError
                sent += done
                continue
            count = min(limit - sent, _BUFFER, *(quantum(rate) for _, rate in rates))
            if rates:
                due = max(pacer.reserve(count, rate, flowing=sent > 0) for pacer, rate in rates)
                self._pause(due - time.monotonic())
            if len(buffer) < count:
                buffer = memoryview(bytearray(min(_BUFFER, limit)))
            piece = buffer[:count]
            reply.body.fill(piece, reply.start + sent)
            self._count(request, count)
            self.connection.sendall(piece)
            sent += count

    def _count(self, request: Request, count: int) -> None:
        """Count bytes just before they go: a client that has them all finds them counted."""
        request.bytes_sent += count
        self._carried += count

    def _pause(self, seconds: float) -> None:
        """Wait, unless the hub closes meanwhile."""
        if seconds > 0 and self.site.closing.wait(seconds):
            raise ConnectionEndedError

    def _stay_silent(self) -> None:
        """Keep the connection open until the client ends it or the hub closes."""
        self.connection.settimeout(0.1)
        while not self.site.closing.is_set():
            try:
                if not self.connection.recv(4096):
                    return
            except TimeoutError:
                continue

    def _end(self, *, reset: bool) -> None:
        """End the connection now."""
        if reset:
            _drain(self.connection)
            linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # A shutdown would say goodbye first; only a close resets, once no reader holds the socket.
            self.rfile.close()
            self.connection.close()
        raise ConnectionEndedError


def _drain(connection: socket.socket) -> None:
    """Wait until the client's machine has what was sent: a reset throws the rest away."""
    if sys.platform == "linux":
        import fcntl  # noqa: PLC0415  (not everywhere)
        import termios  # noqa: PLC0415

        until = time.monotonic() + _DRAIN
        while time.monotonic() < until:
            unsent = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4)
            if not int.from_bytes(unsent, sys.byteorder):
                return
            time.sleep(0.001)
    else:
        time.sleep(0.05)
