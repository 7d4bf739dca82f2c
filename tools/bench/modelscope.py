"""A front that lets the client of another hub fetch from ours: it lists in that hub's way, and redirects."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from bench.serving import REPO_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["front"]


@contextmanager
def front(endpoint: str, repo: Path, digests: Mapping[str, str]) -> Iterator[str]:
    """Serve the two routes that `modelscope download` asks for; yields the address.

    Args:
        endpoint: The Hub that has the bytes, and does what the scene says.
        repo: The files, for their sizes.
        digests: The sha256 of each, by path.
    """
    listed = [
        {"Path": path, "Name": path.rsplit("/", 1)[-1], "Type": "blob", "Size": (repo / path).stat().st_size}
        | {"Sha256": digest, "Revision": "master", "IsLFS": False, "Mode": "33188", "CommittedDate": 0}
        for path, digest in digests.items()
    ]
    listing = json.dumps({"Code": 200, "Success": True, "Message": "", "Data": {"Files": listed}}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            wanted = parse_qs(url.query).get("FilePath")
            if wanted and url.path.endswith("/repo"):
                self.send_response(302)
                self.send_header("Location", f"{endpoint}/{REPO_ID}/resolve/main/{quote(wanted[0])}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = listing if url.path.endswith("/repo/files") else b"{}"
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the base class's name

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
