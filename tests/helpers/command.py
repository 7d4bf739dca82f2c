"""The command line with a Hub of a repo that is fetched in no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_fetch.localhub.content import make_repo
from qwen_fetch.localhub.hub import LocalHub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workbench import Ended, Tool

VAE = "vae/diffusion_pytorch_model.safetensors"
SHARD = "transformer/diffusion_pytorch_model-00002-of-00009.safetensors"


@pytest.fixture(scope="session")
def tiny_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repo small enough to be fetched in no time."""
    folder = tmp_path_factory.mktemp("cli") / "files"
    make_repo(folder, scale=0.00002)
    return folder


@pytest.fixture
def hub(tiny_repo: Path) -> Iterator[LocalHub]:
    with LocalHub(tiny_repo) as hub:
        yield hub


@pytest.fixture
def online(tool: Tool, hub: LocalHub) -> Tool:
    tool.endpoint = hub.endpoint
    return tool


@pytest.fixture
def complete(online: Tool) -> Tool:
    ended = online.run("-q")
    assert ended.code == 0, ended
    return online


def digest(hub: LocalHub, path: str) -> str:
    return hub.entry(path).etag


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and link below a folder, with what changes when it is written to."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def lines_without_traceback(ended: Ended) -> list[str]:
    assert "Traceback" not in ended.err, ended
    return ended.err.splitlines()


def damage(tool: Tool, hub: LocalHub) -> None:
    """One file missing, one begun, one orphan."""
    for path in (VAE, SHARD):
        blob = tool.blobs / digest(hub, path)
        (tool.folder / "snapshots" / hub.commit / path).unlink()
        if path == SHARD:
            blob.with_name(blob.name + ".incomplete").write_bytes(blob.read_bytes()[:1000])
        blob.unlink()
    (tool.blobs / f"{digest(hub, VAE)}.0123abcd.incomplete").write_bytes(b"x" * 50)


def flip(path: Path, at: int = 5000) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
