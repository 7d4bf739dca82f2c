"""A mirror with ways of its own: the Hub's listing, and the files of a folder, in whatever manner is asked."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import threading
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = ".safetensors"


@dataclass
class Manner:
    """How a mirror is.

    Attributes:
        prefix: Of its paths, as part of the endpoint.
        commit: Whether an answer names the commit.
        tree: The status of a question for a tree; 0: it is answered.
        sizes: Whether the model's siblings have sizes and digests.
        head: The status of HEAD; 0: it is answered.
        ranges: How a request for a range of a weight is answered: ``well``, ``unsaid`` (no Content-Range), ``Bytes``,
            ``star`` (no total), ``short`` (half of it), ``chunked``, ``whole`` (200), ``whole-unsaid`` (200 and no
            length), or a status that refuses.
        coding: Of weights.
        hops: Redirects, from one path to another, before a weight.
        location: How they are written: ``path``, ``relative``, ``blank``, ``umlaut``, ``whole``.
        old: Whether it speaks HTTP/1.0 and closes after each answer.
        damaged: A weight of which its cache holds a wrong byte, until somebody asks it to look again.
        etag: What it says of a weight's digest; empty: nothing.
    """

    prefix: str = ""
    commit: bool = True
    tree: int = 0
    sizes: bool = True
    head: int = 0
    ranges: str = "well"
    coding: str = ""
    hops: int = 0
    location: str = "path"
    old: bool = False
    etag: str = ""
    damaged: str = ""


@dataclass
class Mirror:
    """The server.

    Args:
        hub: The address of the Hub that it mirrors.
        repo: Whose files it has.
        manner: How it is.
    """

    hub: str
    repo: Path
    manner: Manner
    sent: int = 0  # bytes of weights
    healed: bool = False
    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        mirror = self

        class Own(Handler):
            protocol_version = "HTTP/1.0" if mirror.manner.old else "HTTP/1.1"

        Own.mirror = mirror
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}{self.manner.prefix}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    """A connection."""

    mirror: Mirror
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        manner = self.mirror.manner
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.mirror.asked.append(f"{self.command} {path}")
        if not path.startswith(manner.prefix):
            self._send(404, b"")
            return
        path = path.removeprefix(manner.prefix)
        if self.command == "HEAD" and manner.head:
            self._send(manner.head, b"")
        elif path.startswith("/api/"):
            self._api(path, url.query)
        else:
            self._file(path)

    def _api(self, path: str, query: str) -> None:
        manner = self.mirror.manner
        if "/tree/" in path and manner.tree:
            self._send(manner.tree, b"")
            return
        with urllib.request.urlopen(f"{self.mirror.hub}{path}?{query}") as answer:
            body = answer.read()
        if not manner.sizes:
            said = json.loads(body)
            said["siblings"] = [{"rfilename": each["rfilename"]} for each in said["siblings"]]
            body = json.dumps(said).encode()
        self._send(200, body, {"Content-Type": "application/json"})

    def _file(self, path: str) -> None:
        manner = self.mirror.manner
        hop = re.match(r"/hop[ ü]*(\d+)/(.*)", path)
        number, rest = (int(hop[1]), hop[2]) if hop else (0, path.lstrip("/"))
        name = rest.split("/", 4)[-1]
        file = self.mirror.repo / name
        if not file.is_file():
            self._send(404, b"")
            return
        headers = {"X-Repo-Commit": rest.split("/", 4)[3]} if manner.commit else {}
        if not name.endswith(WEIGHTS):
            self._send(200, file.read_bytes(), headers)
            return
        digest = manner.etag or hashlib.sha256(file.read_bytes()).hexdigest()
        headers["X-Linked-Etag"] = f'"{digest}"'
        if number < manner.hops:
            headers["Location"] = self._location(number + 1, rest)
            self._send(302, b"", headers)
        else:
            self._weight(self._kept(name, file.read_bytes()), headers)

    def _kept(self, name: str, data: bytes) -> bytes:
        """What the cache holds of a weight."""
        mirror = self.mirror
        if name != mirror.manner.damaged or mirror.healed:
            return data
        if self.headers.get("Cache-Control") == "no-cache":
            mirror.healed = True
            return data
        return data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]

    def _location(self, number: int, rest: str) -> str:
        rest = rest.replace(" ", "%20")
        up = "../" * (len(self.path.split("/")) - 2 - self.mirror.manner.prefix.count("/"))
        return {
            "path": f"{self.mirror.manner.prefix}/hop{number}/{rest}",
            "relative": f"{up}hop{number}/{rest}",
            "blank": f"{self.mirror.manner.prefix}/hop  {number}/{rest}",
            "umlaut": f"{self.mirror.manner.prefix}/hopü{number}/{rest}".encode().decode("latin-1"),
            "whole": f"{self.mirror.endpoint}/hop{number}/{rest}",
        }[self.mirror.manner.location]

    def _weight(self, data: bytes, headers: dict[str, str]) -> None:
        how, size = self.mirror.manner.ranges, len(data)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if self.mirror.manner.coding and self.command == "GET":
            self._send(
                200, gzip.compress(data, 1), headers | {"Content-Encoding": self.mirror.manner.coding}, count=True
            )
            return
        if not asked or how in {"whole", "whole-unsaid"}:
            self._send(200, data, headers, count=True, length=how != "whole-unsaid")
            return
        if how.isdecimal():
            self._send(int(how), b"")
            return
        start, end = int(asked[1]), min(int(asked[2] or size - 1) + 1, size)
        if how == "short":
            end = start + max(1, (end - start) // 2)
        said = f"{'Bytes' if how == 'Bytes' else 'bytes'} {start}-{end - 1}/{'*' if how == 'star' else size}"
        more = {} if how == "unsaid" else {"Content-Range": said}
        self._send(206, data[start:end], headers | more, count=True, length=how != "chunked")

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        count: bool = False,
        length: bool = True,
    ) -> None:
        chunked = not length and status == 206
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length:
            self.send_header("Content-Length", str(len(body)))
        elif chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        if count:
            with self.mirror.lock:
                self.mirror.sent += len(body)
        if chunked:
            for at in range(0, len(body), 100_000):
                piece = body[at : at + 100_000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            body = b"0\r\n\r\n"
        self.wfile.write(body)
