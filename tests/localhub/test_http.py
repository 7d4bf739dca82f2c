"""The endpoint and the data host, request by request."""

import hashlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from localhub_client import VAE, ask, cdn_url, get

from qwen_fetch.localhub import LocalHub, make_repo


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("http") / "repo"
    make_repo(folder, scale=0.0002)
    return folder


@pytest.fixture
def hub(repo: Path) -> Iterator[LocalHub]:
    with LocalHub(repo) as served:
        yield served


def test_a_small_file_has_an_etag_that_is_gits_name_for_it(hub: LocalHub, repo: Path) -> None:
    answer = get(f"{hub.endpoint}/{hub.repo_id}/resolve/main/model_index.json")
    data = (repo / "model_index.json").read_bytes()
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["etag"].strip('"') == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    assert answer.headers["x-repo-commit"] == hub.commit


@pytest.mark.parametrize("xet", [True, False])
def test_a_large_file_is_somewhere_else(repo: Path, xet: bool) -> None:
    with LocalHub(repo, xet=xet) as hub:
        answer = get(f"{hub.endpoint}/{hub.repo_id}/resolve/{hub.commit}/{VAE}", "HEAD")
    data = (repo / VAE).read_bytes()
    assert answer.status == 302
    assert answer.headers["x-linked-etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert answer.headers["x-linked-size"] == str(len(data))
    assert urlsplit(answer.headers["location"]).hostname == "localhost"
    assert urlsplit(hub.endpoint).hostname == "127.0.0.1"
    assert ("x-xet-hash" in answer.headers) is xet


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        (None, 200, slice(None)),
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=1000-1999", 206, slice(1000, 2000)),
        ("bytes=1000-", 206, slice(1000, None)),
        ("bytes=-500", 206, slice(-500, None)),
        ("bytes=10-99999999", 206, slice(10, None)),
        ("bytes=9-3", 200, slice(None)),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("lines=0-1", 200, slice(None)),
        ("bytes=99999999-", 416, slice(0, 0)),
    ],
    ids=str,
)
def test_ranges(hub: LocalHub, repo: Path, wanted: str | None, status: int, part: slice) -> None:
    data = (repo / VAE).read_bytes()
    answer = get(cdn_url(hub), Range=wanted) if wanted else get(cdn_url(hub))
    assert (answer.status, answer.body) == (status, data[part])
    assert "etag" not in answer.headers
    if status == 206:
        start = data.index(answer.body)
        expected = f"bytes {start}-{start + len(answer.body) - 1}/{len(data)}"
        assert answer.headers["content-range"] == expected
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(data)}"


def test_one_connection_carries_many_requests(hub: LocalHub) -> None:
    url = cdn_url(hub)
    hub.log.clear()
    connection = http.client.HTTPConnection("localhost", urlsplit(url).port, timeout=5)
    for wanted in ("bytes=0-9", "bytes=99999999-", "bytes=5-7"):
        ask(connection, url, Range=wanted)
    connection.close()
    requests = hub.log.requests("cdn")
    assert len({request.connection for request in requests}) == 1
    assert [request.status for request in requests] == [206, 416, 206]
    assert [request.range for request in requests] == ["bytes=0-9", "bytes=99999999-", "bytes=5-7"]
    assert all(request.path == VAE and request.weight for request in requests)
    assert hub.log.weight_bytes() == 13


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("Qwen/Qwen-Image-Edit/resolve/main/none.json", 404, "EntryNotFound"),
        ("Qwen/Qwen-Image-Edit/resolve/none/model_index.json", 404, "RevisionNotFound"),
        ("Qwen/None/resolve/main/model_index.json", 401, "RepoNotFound"),
        ("api/models/Qwen/None", 401, "RepoNotFound"),
        ("api/models/Qwen/Qwen-Image-Edit/revision/none", 404, "RevisionNotFound"),
        ("api/models/Qwen/Qwen-Image-Edit/tree/main/none", 404, "EntryNotFound"),
    ],
)
def test_errors_carry_the_hubs_codes(hub: LocalHub, path: str, status: int, code: str) -> None:
    answer = get(f"{hub.endpoint}/{path}")
    assert (answer.status, answer.headers["x-error-code"]) == (status, code)
    assert json.loads(answer.body)["error"] == answer.headers["x-error-message"]


def test_the_tree(hub: LocalHub) -> None:
    base = f"{hub.endpoint}/api/models/{hub.repo_id}/tree/main"
    everything = json.loads(get(f"{base}?recursive=true").body)
    top = json.loads(get(base).body)
    vae = json.loads(get(f"{base}/vae").body)
    assert sum(item["type"] == "file" for item in everything) == 39
    assert {item["path"] for item in top} >= {"model_index.json", "vae", "transformer"}
    assert {item["path"] for item in vae} == {"vae/config.json", VAE}
    large = next(item for item in everything if item["path"] == VAE)
    assert len(large["xetHash"]) == len(large["lfs"]["oid"]) == 64


def test_a_url_of_data_expires(hub: LocalHub) -> None:
    hub.url_lifetime = 0.0
    url = cdn_url(hub)
    time.sleep(0.01)
    answer = get(url)
    assert answer.status == 403
    assert b"AccessDenied" in answer.body


def test_a_url_of_data_cannot_be_made_up(hub: LocalHub) -> None:
    url = cdn_url(hub)
    assert get(url.replace("Signature=", "Signature=0")).status == 403
    assert get(url.split("?")[0]).status == 403


def test_a_url_of_a_xorb_is_good_for_its_range_alone(hub: LocalHub) -> None:
    token = json.loads(get(f"{hub.endpoint}/api/models/{hub.repo_id}/xet-read-token/main").body)["accessToken"]
    question = f"{hub.data_endpoint}/v1/reconstructions/{hub.entry(VAE).xet_hash}"
    answer = json.loads(get(question, Authorization=f"Bearer {token}", Range="bytes=0-99").body)
    ((place,),) = answer["fetch_info"].values()
    start, end = place["url_range"]["start"], place["url_range"]["end"]
    assert get(place["url"], Range=f"bytes={start}-{end}").status == 206
    assert get(place["url"], Range=f"bytes={start}-{end - 1}").status == 403
    assert get(place["url"]).status == 403
    other = place["url"].replace(f"-{end}", f"-{end - 1}")
    assert get(other, Range=f"bytes={start}-{end - 1}").status == 403


def test_a_wrong_token_is_refused_and_a_missing_one_unless_public(repo: Path) -> None:
    with LocalHub(repo, token="hf_right") as hub:
        url = f"{hub.endpoint}/api/models/{hub.repo_id}"
        assert get(url, Authorization="Bearer hf_right").status == 200
        missing, wrong = get(url), get(url, Authorization="Bearer hf_wrong")
        assert (missing.status, missing.headers["x-error-code"]) == (401, "RepoNotFound")
        assert wrong.status == 401
        assert wrong.headers["x-error-message"] == "Invalid credentials in Authorization header"
        assert get(f"{url}/xet-read-token/main").status == 401
        hub.public = True
        assert get(url).status == 200
        assert get(url, Authorization="Bearer hf_wrong").status == 401


def test_the_cas_wants_its_own_token(hub: LocalHub) -> None:
    url = f"{hub.data_endpoint}/v2/reconstructions/{hub.entry(VAE).xet_hash}"
    assert get(url).status == 401
    assert get(url, Authorization="Bearer hf_token").status == 401
    token = json.loads(get(f"{hub.endpoint}/api/models/{hub.repo_id}/xet-read-token/main").body)
    assert token["casUrl"] == hub.data_endpoint
    assert get(url, Authorization=f"Bearer {token['accessToken']}").status == 200
    hub.cas_version = 1
    assert get(url, Authorization=f"Bearer {token['accessToken']}").status == 404
    assert get(url.replace("v2", "v1"), Authorization=f"Bearer {token['accessToken']}").status == 200


def test_a_branch_can_be_added_and_moved(hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "new.json").write_text("{}")
    commit = hub.add_revision("v2", tmp_path)
    assert commit != hub.commit
    url = f"{hub.endpoint}/api/models/{hub.repo_id}/revision"
    assert json.loads(get(f"{url}/v2").body)["sha"] == commit
    hub.move_branch("main", commit)
    assert json.loads(get(f"{url}/main").body)["sha"] == commit
    assert json.loads(get(f"{url}/{hub.commit}").body)["sha"] == hub.commit


def test_a_second_start_reads_the_digests_from_beside_the_folder(repo: Path) -> None:
    memory = repo.with_name("repo.digests.json")
    with LocalHub(repo) as first:
        pass
    known = json.loads(memory.read_text())
    (key,) = known[VAE]
    known[VAE][key] = "0" * 64
    memory.write_text(json.dumps(known))
    with LocalHub(repo) as second:
        assert second.commit != first.commit
    memory.unlink()
    with LocalHub(repo) as third:
        assert third.commit == first.commit


def test_totals_can_be_asked_for_and_cleared(hub: LocalHub) -> None:
    get(f"{hub.endpoint}/api/models/{hub.repo_id}")
    assert json.loads(get(f"{hub.endpoint}/_localhub/log").body)["count"] == {"api": 1}
    get(f"{hub.endpoint}/_localhub/clear", "POST")
    assert json.loads(get(f"{hub.endpoint}/_localhub/log").body)["requests"] == 0
