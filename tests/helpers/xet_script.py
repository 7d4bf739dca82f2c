"""The Xet source with the three hosts it talks to, all of which answer from a script."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from scripted import DATA, Reply, Scripted, fetch

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.transport.endpoint import Endpoint
from qwen_fetch.transport.xet import Admission, XetSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.transport.source import Failure

FILE = RepoFile("vae/shard.safetensors", len(DATA), Digest("sha256", hashlib.sha256(DATA).hexdigest()), "f" * 64)
CHUNK, STORED = 250, 258  # bytes of each of the four chunks, without and with its header
SIZE = CHUNK.to_bytes(3, "little")
XORB = b"".join(b"\0" + SIZE + b"\0" + SIZE + DATA[at : at + CHUNK] for at in range(0, len(DATA), CHUNK))
HUB_TOKEN, STORE_TOKEN = "hf_secret", "store-secret"
JSON = "200 OK\nContent-Type: application/json"


@dataclass
class Place:
    """The three hosts: who gives tokens, who says where bytes are, who has them."""

    hub: Scripted
    service: Scripted
    data: Scripted
    admission: Admission
    source: XetSource

    def token(self, **changes: Any) -> Reply:
        given = {"casUrl": self.service.url + "/", "accessToken": STORE_TOKEN, "exp": time.time() + 3600} | changes
        return Reply(JSON, json.dumps(given).encode())

    def where(self, *terms: dict[str, Any], skip: int = 0, **entries: list[dict[str, Any]]) -> Reply:
        """The service's answer; `DATA` in an address stands for the data host."""
        told = {"terms": terms, "offset_into_first_range": skip, "fetch_info": entries}
        return Reply(JSON, json.dumps(told).replace("DATA", self.data.url).encode())

    def chunks(self, first: int, end: int, *, skip: int = 0, **changes: Any) -> Reply:
        """Its right answer for some of the file's chunks, except for what is given."""
        run = term("a", first, end) | changes
        return self.where(run, skip=skip, a=[entry(first, end)])

    def fetch(self, start: int, end: int) -> tuple[bytes, Failure | None]:
        return fetch(self.source, FILE, start, end)

    def fails(self, start: int, end: int) -> tuple[bytes, Failure]:
        """The failure, which is told well; and whatever happened, the source can be used again."""
        got, failure = self.fetch(start, end)
        assert failure is not None
        assert failure.detail.startswith("Xet: ")
        assert failure.detail.isprintable()
        assert "secret" not in str(failure)
        assert len(failure.detail) < 300
        self.hub.always = self.token()
        self.service.replies[:] = [self.chunks(0, 4)]
        self.data.replies[:] = [part(0, 4)]
        assert self.fetch(0, 1000) == (DATA, None)
        return got, failure


def term(xorb: str, first: int, end: int) -> dict[str, Any]:
    return {"hash": xorb, "range": {"start": first, "end": end}, "unpacked_length": (end - first) * CHUNK}


def entry(first: int, end: int, url: str = "DATA/xorb?X-Signature=secret") -> dict[str, Any]:
    stored = {"start": first * STORED, "end": end * STORED - 1}
    return {"range": {"start": first, "end": end}, "url": url, "url_range": stored}


def part(first: int, end: int, *, stated: str = "", **options: Any) -> Reply:
    """The data host's right answer for some of the xorb's chunks, except for what is given."""
    start, stop = first * STORED, end * STORED
    head = f"206 Partial Content\nContent-Range: {stated or f'bytes {start}-{stop - 1}/{len(XORB)}'}"
    return Reply(head, XORB[start:stop], **options)


@pytest.fixture
def place() -> Iterator[Place]:
    with Scripted() as hub, Scripted() as service, Scripted() as data:
        admission = Admission(Endpoint(hub.url, HUB_TOKEN, 5.0), "a/b", "c" * 40)
        source = XetSource(admission, 5.0, 5.0)
        place = Place(hub, service, data, admission, source)
        hub.always = place.token()
        yield place
        source.close()
