"""What can be wrong with the files, each said before torch is imported; on the made-up repo, without torch."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from workbench import OpenHub, Tool

from qwen_fetch.base.problem import ExitCode, Problem
from qwen_fetch.base.settings import Settings
from qwen_fetch.loading.checkpoint import open_checkpoint
from qwen_fetch.loading.headers import BadWeights, read_header

SHARD = "transformer/diffusion_pytorch_model-00002-of-00009.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 4984214160\n"


@pytest.fixture
def copy(repo: Path, tmp_path: Path) -> Path:
    """The made-up repo, to be damaged."""
    return Path(shutil.copytree(repo, tmp_path / "Qwen-Image-Edit", copy_function=shutil.copy))


def problem_of(folder: Path) -> Problem:
    with pytest.raises(Problem) as raised:
        open_checkpoint(Settings(), folder)
    assert raised.value.exit_code == ExitCode.CANNOT_LOAD
    return raised.value


def test_a_whole_folder(copy: Path) -> None:
    checkpoint = open_checkpoint(Settings(), copy)
    assert checkpoint.class_name == "QwenImageEditPipeline"
    assert len(checkpoint.files) == 14
    assert checkpoint.size == sum(path.stat().st_size for path in copy.rglob("*.safetensors"))
    assert set(checkpoint.components) == {"processor", "scheduler", "text_encoder", "tokenizer", "transformer", "vae"}
    assert len(checkpoint.weights.transformer.blocks) > 1


def truncate(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


DAMAGES = [
    pytest.param(lambda path: path.write_bytes(POINTER), "Git LFS pointer", id="pointer"),
    pytest.param(lambda path: path.write_bytes(b"<!DOCTYPE html><html>Log in</html>"), "web page", id="HTML"),
    pytest.param(lambda path: path.write_bytes(b'<?xml version="1.0"?><Error/>'), "web page", id="XML"),
    pytest.param(lambda path: path.write_bytes(b'{"error": "not found"}'), "error message in JSON", id="JSON"),
    pytest.param(lambda path: path.write_bytes(b""), "empty", id="empty"),
    pytest.param(lambda path: truncate(path, 5), "cut short", id="cut in the length"),
    pytest.param(lambda path: truncate(path, 1000), "cut short", id="cut in the header"),
    pytest.param(lambda path: truncate(path, path.stat().st_size - 10), "cut short", id="cut in the data"),
    pytest.param(lambda path: path.write_bytes(path.read_bytes() + b"more"), "too long", id="too long"),
    pytest.param(lambda path: path.write_bytes(b"\0" * path.stat().st_size), "zeros", id="zeros"),
    pytest.param(
        lambda path: path.write_bytes(path.read_bytes().replace(b'"dtype"', b'"dtyp"""', 1)),
        "header is damaged",
        id="a byte of the header",
    ),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGES)
def test_a_file_that_is_no_weights(copy: Path, damage: object, told: str) -> None:
    damage(copy / SHARD)  # type: ignore[operator]
    problem = problem_of(copy)
    assert problem.id == "damaged-weights"
    assert SHARD in problem.what
    assert told in problem.what
    assert problem.do[0].endswith(f"--force --selective {SHARD}")


def test_half_of_zeros_has_a_right_header(copy: Path) -> None:
    """Only the digest finds it: see test_check_load."""
    path = copy / SHARD
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2] + b"\0" * (size - size // 2))
    assert read_header(path)


MISSING = [
    (lambda folder: (folder / SHARD).unlink(), "1 of 9 shards of transformer are missing"),
    (lambda folder: shutil.rmtree(folder / "processor"), "the folder processor lacks its configuration"),
    (lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(), "vae holds no weights"),
    (lambda folder: (folder / "model_index.json").unlink(), "model_index.json is missing"),
]


@pytest.mark.parametrize(("remove", "told"), MISSING, ids=[told for _, told in MISSING])
def test_a_file_that_is_missing(copy: Path, remove: object, told: str) -> None:
    remove(copy)  # type: ignore[operator]
    problem = problem_of(copy)
    assert problem.id == "not-downloaded"
    assert told in problem.what
    assert "qwen-fetch" in problem.do[0]


def test_an_index_that_leads_out_of_its_folder(copy: Path) -> None:
    path = copy / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"weight": "../../other/model.safetensors"}}))
    assert "outside of its folder" in problem_of(copy).what


def test_a_dangling_pointer_is_missing(copy: Path) -> None:
    (copy / SHARD).unlink()
    (copy / SHARD).symlink_to(copy / "nowhere")
    assert problem_of(copy).id == "not-downloaded"


@pytest.mark.parametrize("text", ["<html>", "[]"])
def test_an_index_that_is_none(copy: Path, text: str) -> None:
    (copy / "model_index.json").write_text(text)
    assert problem_of(copy).id == "damaged-weights"


def test_another_pipeline(copy: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text()) | {"_class_name": "FluxPipeline"}
    (copy / "model_index.json").write_text(json.dumps(index))
    assert problem_of(copy).id == "unknown-pipeline"


def test_a_folder_for_comfyui(tmp_path: Path) -> None:
    folder = tmp_path / "ComfyUI" / "models" / "diffusion_models"
    folder.mkdir(parents=True)
    (folder / "qwen_image_edit_fp8_e4m3fn.safetensors").write_bytes(b"")
    for place in (folder, folder.parent):
        problem = problem_of(place)
        assert problem.id == "comfyui-layout"
        assert "Comfy-Org" in problem.do[1]


def test_nothing_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["my_script.py"])
    with pytest.raises(Problem) as raised:
        open_checkpoint(Settings(cache_dir=tmp_path))
    assert raised.value.id == "not-downloaded"
    assert raised.value.do == (f"Download it: qwen-fetch --cache-dir {tmp_path}",)


def test_a_download_as_it_stands_in_the_cache(tool: Tool, open_hub: OpenHub, repo: Path) -> None:
    tool.endpoint = open_hub().endpoint
    assert tool.run("--exclude", "text_encoder/*").code == 0
    settings = Settings(cache_dir=tool.cache)
    with pytest.raises(Problem, match="text_encoder lacks its configuration"):
        open_checkpoint(settings)
    assert tool.run().code == 0
    checkpoint = open_checkpoint(settings)
    assert checkpoint.commit == checkpoint.folder.name
    assert checkpoint.size == sum(path.stat().st_size for path in repo.rglob("*.safetensors"))
    # A file that only the listing knows of.
    (checkpoint.folder / "tokenizer" / "vocab.json").unlink()
    with pytest.raises(Problem, match=r"tokenizer/vocab\.json is missing"):
        open_checkpoint(settings)
    # Another client keeps no listing; the folder is there all the same.
    shutil.rmtree(tool.folder / "trees")
    assert open_checkpoint(settings).folder == checkpoint.folder
    assert open_checkpoint(Settings(cache_dir=tool.cache, revision=checkpoint.commit)).folder == checkpoint.folder


def test_a_header_without_offsets(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    text = b'{"weight": {"shape": [2]}}'
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(BadWeights, match="damaged"):
        read_header(path)


@pytest.mark.parametrize(
    "entry",
    [
        ["evil", "Evil"],
        ["os", "system"],
        ["diffusers", "DiffusionPipeline"],
        ["diffusers.utils", "QwenImageTransformer2DModel"],
        ["transformers", "AutoModel"],
        ["transformers", ["Qwen2Tokenizer"]],
        [["transformers"], "Qwen2Tokenizer"],
        ["transformers", "Qwen2Tokenizer.__init__"],
    ],
    ids=str,
)
def test_what_an_index_names_is_imported_from_one_list_only(copy: Path, entry: list[object]) -> None:
    index = copy / "model_index.json"
    for part in ("tokenizer", "more"):
        index.write_text(json.dumps(json.loads(index.read_text()) | {part: entry}))
        assert problem_of(copy).id == "unknown-pipeline"


@pytest.mark.parametrize(
    "name", ["Evil", "QwenImage", "QwenImageEditPipeline.x", "QwenImage\nPipeline", ["evil", "Evil"], 5]
)
def test_a_pipeline_of_another_name(copy: Path, name: object) -> None:
    index = copy / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": name}))
    assert problem_of(copy).id == "unknown-pipeline"


def test_no_code_runs_that_a_cached_index_names(
    tool: Tool, open_hub: OpenHub, small_repo: Path, tmp_path: Path
) -> None:
    tool.endpoint = open_hub(small_repo).endpoint
    assert tool.run("-q").code == 0
    ran = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(ran)!r}, 'w')\n")
    tool.extra["PYTHONPATH"] = str(tmp_path)
    (index,) = (tool.folder / "snapshots").glob("*/model_index.json")
    text = json.dumps(json.loads(index.read_text()) | {"tokenizer": ["evil", "Evil"]})
    index.unlink()
    index.write_text(text)
    ended = tool.run("--check-load")
    assert ended.code == ExitCode.CANNOT_LOAD, ended
    assert "Traceback" not in ended.err
    assert not ran.exists()
