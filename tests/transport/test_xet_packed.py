"""A store whose chunks are packed, as weights are: the real `hf_xet` reads it, and this program reads the same."""

import random
from pathlib import Path

import pytest
from hf_xet import XetFileInfo, XetSession
from scripted import fetch
from workbench import REPO

from qwen_fetch.base.files import RepoFile
from qwen_fetch.base.integrity import Digest
from qwen_fetch.localhub import Fault, LocalHub, xet
from qwen_fetch.localhub.kept import Packing
from qwen_fetch.transport.endpoint import Endpoint
from qwen_fetch.transport.source import FailureKind
from qwen_fetch.transport.xet import Admission, XetSource

PATH = "weights.safetensors"


def numbers(count: int) -> bytes:
    """Made-up weights of two bytes each: random below, nearly the same everywhere above."""
    dice = random.Random(count)
    data = bytearray(dice.randbytes(count))
    data[1::2] = bytes(dice.choices((0x3C, 0x3D, 0xBC, 0xBD), k=len(data[1::2])))
    return bytes(data)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A file whose last chunk cannot be cut in groups of four, with some chunks that do not get smaller."""
    folder = tmp_path_factory.mktemp("packed") / "repo"
    folder.mkdir()
    content = numbers(9 * xet.CHUNK) + random.Random(1).randbytes(3 * xet.CHUNK) + numbers(5 * xet.CHUNK + 11)
    (folder / PATH).write_bytes(content)
    return folder, content


@pytest.mark.parametrize("packing", ["none", "lz4", "grouped"])
def test_any_range_is_the_same_for_both_clients(repo: tuple[Path, bytes], tmp_path: Path, packing: Packing) -> None:
    folder, content = repo
    size = len(content)
    with LocalHub(folder, store=tmp_path, packing=packing) as hub:
        entry = hub.entry(PATH)
        file = RepoFile(PATH, size, Digest("sha256", entry.etag), entry.xet_hash)
        source = XetSource(Admission(Endpoint(hub.endpoint, None, 5), REPO, hub.commit), timeout=5, stall_timeout=5)
        theirs = XetSession().new_download_stream_group(
            token_refresh_url=f"{hub.endpoint}/api/models/{REPO}/xet-read-token/{hub.commit}"
        )
        dice = random.Random(2)
        ranges = [(0, size), (size - 1, size), (xet.CHUNK - 1, xet.CHUNK + 1)]
        ranges += [(start, dice.randrange(start + 1, size + 1)) for start in dice.sample(range(size), 6)]
        for start, end in ranges:
            assert fetch(source, file, start, end) == (content[start:end], None)
            stream = theirs.download_stream(XetFileInfo(entry.xet_hash, size), start=start, end=end)
            assert b"".join(stream) == content[start:end]
        hub.log.clear()
        fetch(source, file, 0, size)
        # Grouped, the two bytes that hardly differ lie together: a third less. In any other order LZ4 finds nothing.
        assert hub.log.weight_bytes() < size * (0.95 if packing == "grouped" else 1.001)
        source.close()


@pytest.mark.parametrize("packing", ["none", "grouped"])
def test_a_flipped_byte_is_seen_or_left_to_the_digest(
    repo: tuple[Path, bytes], tmp_path: Path, packing: Packing
) -> None:
    folder, content = repo
    with LocalHub(folder, store=tmp_path, packing=packing) as hub:
        hub.faults.add(Fault("xorb", flip_at=100_000, times=1))
        entry = hub.entry(PATH)
        file = RepoFile(PATH, len(content), Digest("sha256", entry.etag), entry.xet_hash)
        source = XetSource(Admission(Endpoint(hub.endpoint, None, 5), REPO, hub.commit), timeout=5, stall_timeout=5)
        got, failure = fetch(source, file, 0, 3 * xet.CHUNK)
        if packing == "none":
            assert failure is None
            assert [number for number, byte in enumerate(got) if byte != content[number]] == [100_000]
        else:
            assert failure is not None
            assert failure.kind is FailureKind.NOT_DATA
        assert fetch(source, file, 0, 3 * xet.CHUNK) == (content[: 3 * xet.CHUNK], None)
        source.close()
