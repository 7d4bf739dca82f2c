"""Every fault does what it says, and no more."""

import http.client
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from localhub_client import VAE, ask, cdn_url, get

from qwen_fetch.localhub import Fault, Faults, LocalHub, make_repo, xet


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "repo"
    make_repo(folder, scale=0.001)
    return folder


@pytest.fixture
def hub(repo: Path) -> Iterator[LocalHub]:
    with LocalHub(repo) as served:
        yield served


@pytest.fixture
def data(repo: Path) -> bytes:
    return (repo / VAE).read_bytes()


@pytest.mark.parametrize(("reset", "error"), [(True, ConnectionResetError), (False, http.client.IncompleteRead)])
def test_cut(hub: LocalHub, data: bytes, reset: bool, error: type[Exception]) -> None:
    fault = hub.faults.add(Fault("cdn", cut_after=100_000, reset=reset, times=1))
    url = cdn_url(hub)
    answer = get(url)
    assert (answer.body, answer.error) == (data[:100_000], error)
    assert hub.log.weight_bytes() == 100_000
    assert get(url).body == data
    assert hub.faults.hits(fault) == 1


def test_cut_neither_hits_nor_counts_a_reply_that_ends_before(hub: LocalHub) -> None:
    fault = hub.faults.add(Fault("cdn", cut_after=1_000, times=1))
    url = cdn_url(hub)
    assert get(url, Range="bytes=0-999").error is None
    assert hub.faults.hits(fault) == 0
    assert get(url, Range="bytes=0-1000").error is not None


def test_cut_can_count_over_a_connection(hub: LocalHub) -> None:
    hub.faults.add(Fault("cdn", cut_after=2_500, per_connection=True))
    url = cdn_url(hub)
    with closing(http.client.HTTPConnection("localhost", urlsplit(url).port, timeout=5)) as connection:
        bodies = [len(ask(connection, url, Range="bytes=0-999").body) for _ in range(3)]
    assert bodies == [1_000, 1_000, 500]


def test_silence_lasts_until_the_client_goes(hub: LocalHub, data: bytes) -> None:
    hub.faults.add(Fault("cdn", silent_after=50_000))
    answer = get(cdn_url(hub), timeout=0.3)
    assert (answer.body, answer.error) == (data[:50_000], TimeoutError)


def test_silence_ends_when_the_hub_closes(repo: Path) -> None:
    with (
        LocalHub(repo, faults=Faults(Fault("cdn", silent_after=0))) as hub,
        closing(http.client.HTTPConnection("localhost", urlsplit(hub.data_endpoint).port)) as connection,
    ):
        url = urlsplit(cdn_url(hub))
        connection.request("GET", f"{url.path}?{url.query}")
        time.sleep(0.05)
        started = time.monotonic()
        hub.close()
        with pytest.raises((http.client.HTTPException, OSError)), connection.getresponse() as response:
            response.read()
    assert time.monotonic() - started < 2


def test_slow(hub: LocalHub) -> None:
    hub.faults.add(Fault("cdn", slow=10_000.0))
    url = cdn_url(hub)
    started = time.monotonic()
    assert len(get(url, Range="bytes=0-1999").body) == 2_000
    assert 0.19 < time.monotonic() - started < 0.5


def test_a_flipped_byte_is_the_one_asked_for(hub: LocalHub, data: bytes) -> None:
    fault = hub.faults.add(Fault("cdn", flip_at=1_234, times=1))
    url = cdn_url(hub)
    assert get(url, Range="bytes=2000-2999").body == data[2_000:3_000]
    assert hub.faults.hits(fault) == 0
    wrong = get(url, Range="bytes=1000-1999").body
    assert [number for number in range(1_000) if wrong[number] != data[1_000 + number]] == [234]


def test_a_wrong_range_is_admitted_in_the_headers(hub: LocalHub, data: bytes) -> None:
    hub.faults.add(Fault("cdn", wrong_range=100))
    answer = get(cdn_url(hub), Range="bytes=1000-1999")
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes 1100-2099/{len(data)}"
    assert answer.body == data[1_100:2_100]


def test_the_range_is_ignored(hub: LocalHub, data: bytes) -> None:
    hub.faults.add(Fault("cdn", ignore_range=True))
    answer = get(cdn_url(hub), Range="bytes=1000-1999")
    assert (answer.status, answer.body) == (200, data)
    assert "content-range" not in answer.headers


def test_a_wrong_total(hub: LocalHub) -> None:
    hub.faults.add(Fault("cdn", wrong_length=7_777))
    assert get(cdn_url(hub), Range="bytes=0-9").headers["content-range"] == "bytes 0-9/7777"


def test_a_status_with_headers_and_body(hub: LocalHub) -> None:
    fault = Fault("api", status=429, headers={"Retry-After": "3"}, body=b"later", times=2)
    hub.faults.add(fault)
    url = f"{hub.endpoint}/api/models/{hub.repo_id}"
    answers = [get(url) for _ in range(3)]
    assert [answer.status for answer in answers] == [429, 429, 200]
    assert (answers[0].headers["retry-after"], answers[0].body) == ("3", b"later")


def test_a_web_page_in_place_of_a_file(hub: LocalHub) -> None:
    hub.faults.add(Fault("any-data", html_page=True))
    answer = get(cdn_url(hub), Range="bytes=0-9")
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert b"<html>" in answer.body


def test_a_connection_closed_at_once(hub: LocalHub) -> None:
    hub.faults.add(Fault("resolve", close_at_once=True, times=1))
    with pytest.raises(ConnectionResetError):
        cdn_url(hub)
    hub.faults.add(Fault("resolve", close_at_once=True, reset=False, times=1))
    with pytest.raises(http.client.RemoteDisconnected):
        cdn_url(hub)
    assert [request.status for request in hub.log.requests("resolve")] == [0, 0]


def test_a_delay(hub: LocalHub) -> None:
    hub.faults.add(Fault("resolve", delay=0.2))
    started = time.monotonic()
    cdn_url(hub)
    assert 0.2 <= time.monotonic() - started < 0.5


def xorb_url(hub: LocalHub) -> str:
    path = f"/xorbs/{xet.xorb_hash(hub.entry(VAE).xet_hash, 0)}"
    return hub.signer.url(hub.data_endpoint, path, None)


def test_a_byte_flipped_in_a_xorb_is_one_of_the_files(hub: LocalHub, data: bytes) -> None:
    offset = xet.CHUNK + 5
    hub.faults.add(Fault("xorb", flip_at=offset))
    body = get(xorb_url(hub)).body
    second = xet.HEADER + xet.CHUNK
    assert body[second : second + xet.HEADER] == xet.chunk_header(xet.CHUNK)
    content = body[second + xet.HEADER :][: xet.CHUNK]
    assert content[5] == data[offset] ^ 0xFF
    assert content[6:] == data[offset + 1 : 2 * xet.CHUNK]


def test_a_corrupt_xorb_has_no_header(hub: LocalHub, data: bytes) -> None:
    hub.faults.add(Fault("any-data", corrupt_xorb=True))
    body = get(xorb_url(hub)).body
    assert body[: xet.HEADER] == b"\xff" * xet.HEADER
    assert body[xet.HEADER : xet.HEADER + xet.CHUNK] == data[: xet.CHUNK]


def test_path_skip_and_clear(hub: LocalHub) -> None:
    fault = hub.faults.add(Fault("resolve", path="vae/*", status=503, skip=1, times=1))
    base = f"{hub.endpoint}/{hub.repo_id}/resolve/main"
    assert get(f"{base}/model_index.json").status == 200
    assert [get(f"{base}/vae/config.json").status for _ in range(3)] == [200, 503, 200]
    assert hub.faults.hits(fault) == 1
    hub.faults.add(Fault("resolve", status=503))
    hub.faults.clear()
    assert get(f"{base}/vae/config.json").status == 200


def test_faults_can_be_written_as_text() -> None:
    fault = Fault.parse("any-data:cut_after=8000000,times=3,path=vae/*,reset=no")
    assert (fault.kind, fault.cut_after, fault.times, fault.path) == ("any-data", 8_000_000, 3, "vae/*")
    assert fault.reset is False
    assert Fault.parse("cdn:html_page").html_page is True
    assert Fault.parse("cdn:slow=1.5").slow == 1.5
    assert Fault.parse("api:status=503").status == 503


@pytest.mark.parametrize(
    "spec", ["nowhere:status=503", "cdn", "cdn:times=3", "cdn:status=503,html_page", "cdn:nothing=1", "cdn:slow=0"]
)
def test_a_fault_that_means_nothing_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"unknown|exactly one|more than 0"):
        Fault.parse(spec)
