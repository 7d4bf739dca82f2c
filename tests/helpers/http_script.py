"""The HTTP source with the two hosts it talks to, both of which answer from a script."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import scripted
from scripted import DATA, Reply, Scripted

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.transport.endpoint import Endpoint
from qwen_fetch.transport.http import Addresses, HttpSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_fetch.transport.source import Failure

FILE = RepoFile("vae/shard 1.safetensors", len(DATA), Digest("sha256", hashlib.sha256(DATA).hexdigest()))
TOKEN = "hf_made_up"


@pytest.fixture
def data() -> Iterator[Scripted]:
    with Scripted() as server:
        yield server


@pytest.fixture
def endpoint(data: Scripted) -> Iterator[Scripted]:
    with Scripted(always=to(data.url + "/blob?X-Signature=secret")) as server:
        yield server


@pytest.fixture
def source(endpoint: Scripted) -> Iterator[HttpSource]:
    source = open_source(endpoint)
    yield source
    source.close()


def open_source(endpoint: Scripted, *, timeout: float = 5.0, stall_timeout: float = 5.0) -> HttpSource:
    addresses = Addresses(Endpoint(endpoint.url, TOKEN, timeout), "a/b", "c" * 40)
    return HttpSource(addresses, timeout, stall_timeout)


def to(location: str, status: int = 302) -> Reply:
    return Reply(f"{status} Found\nLocation: {location}")


def part(start: int, end: int, *, total: object = len(DATA), stated: str = "", **options: object) -> Reply:
    """A right answer to `start` to `end`, except for what is given."""
    head = f"206 Partial Content\nContent-Range: {stated or f'bytes {start}-{end - 1}/{total}'}"
    return Reply(head, DATA[start:end], **options)  # type: ignore[arg-type]


def fetch(source: HttpSource, start: int, end: int) -> tuple[bytes, Failure | None]:
    return scripted.fetch(source, FILE, start, end)
