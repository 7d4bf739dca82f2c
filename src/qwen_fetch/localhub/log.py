"""What was asked and what was sent, for tests and for whoever wonders."""

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TextIO

DATA_KINDS = ("cdn", "xorb")
"""The kinds of request that carry the bytes of large files."""


@dataclass(eq=False)
class Request:
    """One request and its reply. Grows while the reply is being sent."""

    kind: str
    """`api`, `resolve`, `token` (of Xet) on the endpoint; `cdn`, `cas`, `xorb` on the data host."""
    method: str
    path: str
    """Path in the repo where the request is about one file, else the path of the URL."""
    range: str | None
    """The Range header."""
    weight: bool
    """Whether it is about a large (LFS) file."""
    headers: dict[str, str]
    """Of the request; lower-case names."""
    connection: int
    """Number of the connection it came over."""
    status: int = 0
    """Of the reply; 0 until, or unless, one is sent."""
    bytes_sent: int = 0
    """Of the reply's body, so far."""
    seconds: float = 0.0
    """From the request to the last byte of the reply; 0 until it is over."""
    started: float = field(default_factory=time.monotonic)
    """Monotonic seconds."""


class RequestLog:
    """All requests in the order they came. Safe to use from any thread."""

    def __init__(self, file: TextIO | None = None) -> None:
        """Start empty; if `file` is given, write each finished request there as a line of JSON."""
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self.file = file

    def begin(self, request: Request) -> None:
        """Note that `request` has come."""
        with self._lock:
            self._requests.append(request)

    def end(self, request: Request) -> None:
        """Note that nothing more will be sent for `request`."""
        request.seconds = time.monotonic() - request.started
        if self.file is not None:
            line = json.dumps(
                {
                    "kind": request.kind,
                    "method": request.method,
                    "path": request.path,
                    "range": request.range,
                    "status": request.status,
                    "bytes_sent": request.bytes_sent,
                    "weight": request.weight,
                    "connection": request.connection,
                    "seconds": round(request.seconds, 6),
                    # That there was a token, never the token.
                    "authorization": "authorization" in request.headers,
                }
            )
            with self._lock:
                self.file.write(line + "\n")
                self.file.flush()

    def requests(self, kind: str | None = None) -> list[Request]:
        """Return the requests so far, of one kind (or `any-data`) or of all."""
        with self._lock:
            return [request for request in self._requests if kind is None or is_kind(request.kind, kind)]

    def count(self, kind: str | None = None) -> int:
        """Return the number of requests so far, of one kind (or `any-data`) or of all."""
        return len(self.requests(kind))

    def weight_bytes(self) -> int:
        """Return the bytes of large files sent by the data host; for xorbs with their chunk headers."""
        return sum(request.bytes_sent for request in self.requests("any-data") if request.weight)

    def totals(self) -> dict[str, object]:
        """Return the sums as one JSON object."""
        requests = self.requests()
        kinds = sorted({request.kind for request in requests})
        return {
            "requests": len(requests),
            "count": {kind: self.count(kind) for kind in kinds},
            "bytes": {kind: sum(r.bytes_sent for r in requests if r.kind == kind) for kind in kinds},
            "weight_bytes": self.weight_bytes(),
            "connections": len({request.connection for request in requests}),
        }

    def clear(self) -> None:
        """Forget all requests, also those still being answered."""
        with self._lock:
            self._requests.clear()


def is_kind(kind: str, wanted: str) -> bool:
    """Return whether a request of `kind` is of the `wanted` kind, where `any-data` is CDN or xorb."""
    return kind == wanted or (wanted == "any-data" and kind in DATA_KINDS)
