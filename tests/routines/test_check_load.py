"""`--check-load`: proves that it loads, finds what the headers cannot show, and says what this machine can do."""

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from machines import with_gpu
from safetensors.torch import load_file, save_file
from tiny import SHIM, make_tiny
from workbench import OpenHub, Tool

from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.settings import Settings
from qwen_fetch.loading.hardware import Device, Hardware
from qwen_fetch.loading.placement import Strategy
from qwen_fetch.routines import check_load as module
from qwen_fetch.routines.check_load import check_load


@pytest.fixture(scope="module", params=[False, True], ids=["edit, of 2025", "plus, of transformers 5"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "repo"
    return make_tiny(folder, plus=request.param, layout_of_2025=not request.param)


@pytest.fixture
def downloaded(source: Path, tool: Tool, open_hub: OpenHub) -> Tool:
    tool.endpoint = open_hub(source).endpoint
    tool.extra["PYTHONPATH"] = str(SHIM)
    ended = tool.run()
    assert ended.code == 0, ended
    return tool


def checked(tool: Tool) -> list[str]:
    return [*check_load(Settings(cache_dir=tool.cache), lambda _event: None).lines()]


def problem_of(tool: Tool) -> Problem:
    with pytest.raises(Problem) as raised:
        checked(tool)
    assert raised.value.exit_code == ExitCode.CANNOT_LOAD
    return raised.value


def blob(tool: Tool, part: str) -> Path:
    return next(path for path in sorted((tool.folder / "snapshots").rglob("*.safetensors")) if part in str(path))


def test_what_was_downloaded_loads(downloaded: Tool) -> None:
    ended = downloaded.run("--check-load")
    assert ended.code == 0, ended
    lines = ended.out.splitlines()
    assert any(line.startswith("loads      transformer: ") and "QwenImageTransformer2DModel" in line for line in lines)
    assert any(line.startswith("loads      processor: builds Qwen2VLProcessor") for line in lines)
    assert any("weight files have the Hub's digest" in line for line in lines)
    assert any(line.startswith("placement  cpu: no GPU") for line in lines)


def test_the_result_for_programs(downloaded: Tool) -> None:
    result = json.loads(json.dumps(check_load(Settings(cache_dir=downloaded.cache), lambda _event: None).as_json()))
    assert result["loads"]
    assert result["digests_compared"] > 10
    assert result["placement"]["strategy"] == "cpu"


def test_half_of_zeros_is_found_by_the_digest(downloaded: Tool) -> None:
    path = blob(downloaded, "transformer")
    data = path.read_bytes()
    path.resolve().write_bytes(data[: len(data) // 2] + b"\0" * (len(data) - len(data) // 2))
    problem = problem_of(downloaded)
    assert problem.id == "damaged-weights"
    assert "its digest is not the Hub's" in problem.what
    # The command it gives mends it.
    assert downloaded.run().code == 0
    assert checked(downloaded)


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae"])
def test_weights_of_another_model(downloaded: Tool, part: str) -> None:
    path = blob(downloaded, part)
    tensors = load_file(path)
    name, tensor = max(tensors.items(), key=lambda item: item[1].numel())
    save_file(tensors | {name: tensor.reshape(-1)}, path.resolve(), metadata={"format": "pt"})
    shutil.rmtree(downloaded.folder / "trees")  # no listing to compare with
    problem = problem_of(downloaded)
    assert problem.id == "shapes-differ"
    assert part in problem.what


def test_a_configuration_that_cannot_be_built(downloaded: Tool) -> None:
    path = next((downloaded.folder / "snapshots").rglob("transformer/config.json"))
    config = json.loads(path.read_text()) | {"patch_size": "two"}
    path.resolve().write_text(json.dumps(config))
    shutil.rmtree(downloaded.folder / "trees")
    problem = problem_of(downloaded)
    assert problem.id == "load-failed"
    assert "QwenImageTransformer2DModel" in problem.what


def test_it_says_what_the_machine_can_do(downloaded: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Hardware((Device("cuda:0", 15 << 30, "NVIDIA GeForce RTX 4080"),), 120 << 30, exact_pinning=True)
    monkeypatch.setattr(module, "look", lambda: machine)
    monkeypatch.setattr(module, "check_cuda", lambda: None)
    lines = checked(downloaded)
    assert any("RTX 4080" in line for line in lines)
    assert any(line.startswith(f"placement  {Strategy.RESIDENT}") for line in lines)  # it is tiny


@pytest.mark.skipif(os.name == "nt", reason="a made-up nvidia-smi is a shell script")
def test_nothing_downloaded(tool: Tool) -> None:
    """What this machine can do is told before an evening is spent on the download."""
    tool.extra["PATH"] = with_gpu(tool.home)
    ended = tool.run("--check-load")
    assert ended.code == ExitCode.CANNOT_LOAD
    assert "RTX 4080" in ended.err
    assert "placement  " in ended.err
    assert "[not-downloaded]" in ended.err
    assert "Download it: python" in ended.err
