"""The made-up repo is what it says: the real tree, valid files, no two places alike."""

import json
import sys
from pathlib import Path

import pytest
from localhub_client import VAE

from qwen_fetch.localhub import REAL_SIZES, make_repo
from qwen_fetch.localhub.content import TOKENIZER, pseudo_random

SCALE = 0.0002


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("content") / "repo"
    make_repo(folder, scale=SCALE)
    return folder


def test_sparse_weights_are_as_large_take_little_and_are_all_different(tmp_path: Path) -> None:
    make_repo(tmp_path, scale=0.002, sparse=True)
    weights = [tmp_path / path for path in REAL_SIZES]
    assert [file.stat().st_size for file in weights] == [
        pytest.approx(size * 0.002, abs=2) for size in REAL_SIZES.values()
    ]
    pieces = [piece for file in weights for piece in _pieces(file)]
    assert len(set(pieces)) == len(pieces) > 100
    if sys.platform == "linux":  # elsewhere it depends on the file system
        assert sum(file.stat().st_blocks * 512 for file in weights) < 0.05 * sum(
            file.stat().st_size for file in weights
        )


def _pieces(file: Path) -> list[bytes]:
    """Of one MiB each, but for the rest at the end."""
    data = file.read_bytes()
    return [data[at : at + (1 << 20)] for at in range(0, len(data) - (1 << 20), 1 << 20)]


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_tree_is_the_real_one(repo: Path) -> None:
    paths = set(files(repo))
    assert set(REAL_SIZES) < paths
    assert len(REAL_SIZES) == 14
    assert sum(REAL_SIZES.values()) == 57_699_249_390
    assert {"model_index.json", TOKENIZER, "scheduler/scheduler_config.json", "tokenizer/merges.txt"} < paths
    assert len(paths) == 39


@pytest.mark.parametrize("path", REAL_SIZES)
def test_weights_have_the_scaled_size_and_are_safetensors(repo: Path, path: str) -> None:
    data = (repo / path).read_bytes()
    assert len(data) == pytest.approx(REAL_SIZES[path] * SCALE, abs=2)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    del header["__metadata__"]
    offset = 0
    for tensor in header.values():
        start, end = tensor["data_offsets"]
        assert start == offset
        assert end - start == 2 * tensor["shape"][0]
        offset = end
    assert 8 + length + offset == len(data)


def test_the_indexes_name_every_tensor(repo: Path) -> None:
    for part, name in (("transformer", "diffusion_pytorch_model"), ("text_encoder", "model")):
        index = json.loads((repo / part / f"{name}.safetensors.index.json").read_text())
        seen = {}
        for file in (repo / part).glob("*.safetensors"):
            data = file.read_bytes()
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            seen.update({tensor: file.name for tensor in header if tensor != "__metadata__"})
        assert index["weight_map"] == seen


def test_the_same_scale_gives_the_same_bytes(repo: Path, tmp_path: Path) -> None:
    make_repo(tmp_path, scale=SCALE)
    assert files(tmp_path) == files(repo)


def test_every_json_file_is_json(repo: Path) -> None:
    for file in repo.rglob("*.json"):
        json.loads(file.read_text())


def test_a_tiny_scale_leaves_a_few_kilobytes(tmp_path: Path) -> None:
    make_repo(tmp_path, scale=1e-9)
    assert (tmp_path / VAE).stat().st_size == 8_192


def test_no_two_places_of_the_weights_are_alike() -> None:
    data = [b"".join(bytes(piece) for piece in pseudo_random(seed, (3 << 20) + 17)) for seed in ("one", "two")]
    assert all(len(text) == (3 << 20) + 17 for text in data)
    windows = [text[start : start + 4_096] for text in data for start in range(0, 3 << 20, 4_096)]
    assert len(set(windows)) == len(windows)
