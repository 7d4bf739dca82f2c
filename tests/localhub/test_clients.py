"""The real clients take the hub for the Hub."""

import hashlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hf_xet import XetFileInfo, XetSession
from localhub_client import client_environment, hf_command, run

from qwen_fetch.localhub import REAL_SIZES, Fault, LocalHub, make_repo, xet
from qwen_fetch.localhub.content import TOKENIZER, pseudo_random

SNAPSHOT = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], max_workers=4))
"""


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients") / "repo"
    make_repo(folder, scale=0.001)
    return folder


def assert_same_files(repo: Path, snapshot: Path) -> None:
    for file in repo.rglob("*"):
        if file.is_file():
            copy = (snapshot / file.relative_to(repo)).read_bytes()
            assert hashlib.sha256(copy).digest() == hashlib.sha256(file.read_bytes()).digest()


@pytest.mark.parametrize("with_xet", [True, False], ids=["xet", "http"])
def test_snapshot_download_and_verify(repo: Path, tmp_path: Path, with_xet: bool) -> None:
    with LocalHub(repo, xet=with_xet) as hub:
        environment = client_environment(hub, tmp_path)
        done = run(sys.executable, "-c", SNAPSHOT, hub.repo_id, environment=environment)
        assert done.returncode == 0, done.stderr
        assert_same_files(repo, Path(done.stdout.strip()))
        weights = sum(hub.entry(path).size for path in (*REAL_SIZES, TOKENIZER))
        assert hub.log.weight_bytes() == pytest.approx(weights, rel=0.001)
        assert (hub.log.count("xorb") > 0, hub.log.count("cdn") > 0) == (with_xet, not with_xet)
        hub.log.clear()
        done = run(hf_command(), "cache", "verify", hub.repo_id, environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "39" in done.stdout
        done = run(hf_command(), "download", hub.repo_id, environment=environment)
        assert done.returncode == 0, done.stderr
        assert hub.log.weight_bytes() == 0


def test_hf_download_with_a_token_that_stays_with_the_endpoint(repo: Path, tmp_path: Path) -> None:
    with LocalHub(repo, token="hf_secret") as hub:
        environment = client_environment(hub, tmp_path)
        command = (hf_command(), "download", hub.repo_id, "--include", "vae/*")
        assert run(*command, environment=environment).returncode != 0
        hub.log.clear()
        done = run(*command, environment=environment | {"HF_TOKEN": "hf_secret"})
        assert done.returncode == 0, done.stderr
        assert all("hf_secret" in r.headers["authorization"] for r in hub.log.requests("resolve"))
        for kind in ("cdn", "xorb", "cas"):
            for request in hub.log.requests(kind):
                assert "hf_secret" not in request.headers.get("authorization", "")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalHub, bytes]]:
    """Serve one file of three xorbs."""
    folder = tmp_path_factory.mktemp("large") / "repo"
    folder.mkdir()
    data = b"".join(pseudo_random("large", 2 * xet.XORB_CONTENT + 1_234_567))
    (folder / "large.safetensors").write_bytes(data)
    with LocalHub(folder) as hub:
        yield hub, data


def stream(hub: LocalHub, start: int, end: int) -> bytes:
    """Read a range of the large file with hf_xet."""
    entry = hub.entry("large.safetensors")
    group = XetSession().new_download_stream_group(
        token_refresh_url=f"{hub.endpoint}/api/models/{hub.repo_id}/xet-read-token/{hub.commit}"
    )
    return b"".join(group.download_stream(XetFileInfo(entry.xet_hash, entry.size), start=start, end=end))


@pytest.mark.parametrize("cas_version", [1, 2])
def test_hf_xet_reads_any_range(large: tuple[LocalHub, bytes], cas_version: int) -> None:
    hub, data = large
    hub.cas_version = 1 if cas_version == 1 else 2
    dice = random.Random(3)
    size = len(data)
    ranges = [(0, 1), (size - 1, size), (xet.XORB_CONTENT - 1, xet.XORB_CONTENT + 1), (xet.CHUNK, 2 * xet.CHUNK)]
    ranges += [(start, start + dice.randrange(1, 9_000_000)) for start in dice.sample(range(size), 4)]
    hub.log.clear()
    for start, end in ranges:
        assert stream(hub, start, min(end, size)) == data[start:end]
    wanted = sum(min(end, size) - start for start, end in ranges)
    # No more than the chunks that cover a range are ever sent.
    assert hub.log.weight_bytes() < wanted * 1.001 + len(ranges) * 2 * (xet.CHUNK + xet.HEADER)


def test_hf_xet_does_not_see_a_flipped_byte(large: tuple[LocalHub, bytes]) -> None:
    hub, data = large
    hub.faults.add(Fault("xorb", flip_at=1_000_000, times=1))
    got = stream(hub, 900_000, 1_100_000)
    assert [number for number in range(200_000) if got[number] != data[900_000 + number]] == [100_000]
    assert stream(hub, 900_000, 1_100_000) == data[900_000:1_100_000]


def test_hf_xet_asks_again_when_its_urls_have_expired(large: tuple[LocalHub, bytes]) -> None:
    hub, data = large
    hub.log.clear()
    fault = hub.faults.add(Fault("xorb", status=403, times=1))
    assert stream(hub, 10, 70_000) == data[10:70_000]
    assert hub.faults.hits(fault) == 1
    assert hub.log.count("cas") == 2
