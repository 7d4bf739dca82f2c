"""Rates are held within a few percent, and shared fairly."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from localhub_client import VAE, cdn_url, get

from qwen_fetch.localhub import LocalHub
from qwen_fetch.localhub.content import pseudo_random

SIZE = 8_000_000


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    folder = tmp_path_factory.mktemp("rates") / "repo"
    (folder / VAE).parent.mkdir(parents=True)
    (folder / VAE).write_bytes(b"".join(pseudo_random(VAE, SIZE)))
    with LocalHub(folder) as served:
        yield served
    assert not served.log.requests("xorb")


def timed(hub: LocalHub, lengths: list[int]) -> list[float]:
    """Fetch that many bytes over as many connections at a time; return when each was done, in seconds."""
    url = cdn_url(hub)
    started = time.monotonic()

    def fetch(length: int) -> float:
        assert len(get(url, Range=f"bytes=0-{length - 1}").body) == length
        return time.monotonic() - started

    with ThreadPoolExecutor(len(lengths)) as pool:
        return list(pool.map(fetch, lengths))


def test_the_line_is_shared(hub: LocalHub) -> None:
    hub.line_rate, hub.connection_rate = 20e6, None
    runs = [timed(hub, [2_000_000] * 4) for _ in range(2)]
    # A busy machine may make a run slower; none may be faster than the line.
    assert 0.4 * 0.9 < min(max(seconds) for seconds in runs) < 0.4 * 1.25
    assert min(min(seconds) for seconds in runs) > 0.4 * 0.6  # nobody got more than a fair share


def test_each_connection_has_its_rate(hub: LocalHub) -> None:
    hub.line_rate, hub.connection_rate = None, 10e6
    runs = [timed(hub, [3_000_000] * 3) for _ in range(2)]
    assert min(min(seconds) for seconds in runs) > 0.3 * 0.98
    assert min(max(seconds) for seconds in runs) < 0.3 * 1.06


def test_rates_change_in_the_middle(hub: LocalHub) -> None:
    hub.line_rate, hub.connection_rate = 1e6, None
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(timed, hub, [SIZE])
        time.sleep(0.2)
        hub.line_rate = None
        assert future.result()[0] < 1


def test_latency_comes_before_every_reply(hub: LocalHub) -> None:
    hub.line_rate = hub.connection_rate = None
    hub.latency = 0.1
    started = time.monotonic()
    get(cdn_url(hub), Range="bytes=0-9")
    hub.latency = 0.0
    assert 0.2 <= time.monotonic() - started < 0.5
