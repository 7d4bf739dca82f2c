"""The loader on a tiny pipeline of the real classes: the promised arguments, every placement, every way to fail."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import diffusers  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny import make_lora, make_tiny, small_references  # noqa: E402

import qwen_fetch  # noqa: E402
from qwen_fetch import load_pipeline  # noqa: E402
from qwen_fetch.base.problem import ExitCode, Problem  # noqa: E402
from qwen_fetch.base.settings import Settings  # noqa: E402
from qwen_fetch.loading import hardware, loader, placing  # noqa: E402
from qwen_fetch.loading.checkpoint import open_checkpoint  # noqa: E402
from qwen_fetch.loading.hardware import Device, Hardware  # noqa: E402
from qwen_fetch.loading.ladder import choose  # noqa: E402
from qwen_fetch.loading.loader import Request, load  # noqa: E402
from qwen_fetch.loading.placement import Part, Strategy, Wishes  # noqa: E402

GIB = 2**30
USERS_ARGUMENTS: dict[str, Any] = {"device_map": "auto", "low_cpu_mem_usage": False}


@pytest.fixture(scope="module", params=[False, True], ids=["of transformers 5", "of 2025"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen-Image-Edit, in both layouts of files."""
    return make_tiny(tmp_path_factory.mktemp("tiny") / "edit", layout_of_2025=request.param)


@pytest.fixture(scope="module", autouse=True)
def _small_references() -> Iterator[None]:
    with small_references():
        yield


@pytest.fixture(scope="module")
def plus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "plus", plus=True, layout_of_2025=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "edit")


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> Hardware:
    """The CPU in the part of two GPUs, with plenty of everything."""
    machine = Hardware((Device("cpu", 50 * GIB), Device("cpu", 40 * GIB)), 100 * GIB, exact_pinning=False)
    use(monkeypatch, machine)
    return machine


def use(monkeypatch: pytest.MonkeyPatch, machine: Hardware) -> None:
    monkeypatch.setattr(loader, "look", lambda: machine)
    monkeypatch.setattr(loader, "look_with_torch", lambda: machine)


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def edit(pipeline: Any, images: int = 1) -> np.ndarray[Any, Any]:
    """Two steps of a real edit, with guidance; one step would divide by zero."""
    image = pipeline(
        image=picture() if images == 1 else [picture()] * images,
        prompt="make it pink",
        negative_prompt=" ",
        true_cfg_scale=4.0,
        num_inference_steps=2,
        height=64,
        width=64,
        generator=torch.Generator("cpu").manual_seed(0),
    ).images[0]
    pixels: np.ndarray[Any, Any] = np.asarray(image)
    return pixels


def plain(folder: Path) -> Any:
    """The pipeline as diffusers itself loads it."""
    return diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def pixels(tiny: Path) -> np.ndarray[Any, Any]:
    return edit(plain(tiny))


def test_the_users_arguments_work_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = load_pipeline(str(folder), **USERS_ARGUMENTS)
    assert type(pipeline) is diffusers.QwenImageEditPipeline
    assert {pipeline.transformer.dtype, pipeline.text_encoder.dtype, pipeline.vae.dtype} == {torch.bfloat16}
    assert (edit(pipeline) == edit(plain(folder))).all()
    out, err = capsys.readouterr()
    assert not out
    assert "Loaded in" in err
    assert "of RAM" in err


def test_diffusers_refuses_them(tiny: Path) -> None:
    """When this fails, diffusers has learnt it: then see whether the loader can hand the arguments on."""
    with pytest.raises(NotImplementedError, match="auto not supported"):
        diffusers.DiffusionPipeline.from_pretrained(tiny, dtype=torch.bfloat16, **USERS_ARGUMENTS)
    with pytest.raises(ValueError, match="cannot set `low_cpu_mem_usage` to False while using device_map"):
        diffusers.DiffusionPipeline.from_pretrained(
            tiny, dtype=torch.bfloat16, device_map="cpu", low_cpu_mem_usage=False
        )


def test_diffusers_still_needs_the_dtype(tiny: Path) -> None:
    """Without it, the transformer comes up in twice the memory."""
    assert diffusers.DiffusionPipeline.from_pretrained(tiny).transformer.dtype is torch.float32


def test_the_plus_editions_take_several_pictures(plus: Path) -> None:
    pipeline = load_pipeline(str(plus), progress=False)
    assert type(pipeline) is diffusers.QwenImageEditPlusPipeline
    assert (edit(pipeline, images=2) == edit(plain(plus), images=2)).all()


@pytest.mark.parametrize("strategy", [*Strategy])
def test_every_placement_gives_the_same_pixels(
    tiny: Path, emulated: Hardware, pixels: np.ndarray[Any, Any], strategy: Strategy
) -> None:
    assert emulated.devices
    pipeline = load_pipeline(str(tiny), strategy=strategy, progress=False)
    assert (edit(pipeline) == pixels).all()
    assert (edit(pipeline) == pixels).all()  # hooks must leave everything as it was


def test_blocks_spread_over_devices_give_the_same_pixels(tiny: Path, pixels: np.ndarray[Any, Any]) -> None:
    checkpoint = open_checkpoint(Settings(), tiny)
    machine = Hardware((Device("cpu", 50 * GIB), Device("cpu", 40 * GIB)), 100 * GIB)
    found = choose(machine, checkpoint.weights, Wishes(strategy=Strategy.SEVERAL_GPUS))
    split = replace(found.parts[0], method="split", split=(("cpu", 1), ("cpu", 3)))
    pipeline = placing.build(checkpoint, found, torch.bfloat16)
    placing.place(pipeline, replace(found, parts=(split, *found.parts[1:])), torch.bfloat16)
    assert all(hasattr(block, "_hf_hook") for block in pipeline.transformer.transformer_blocks)
    assert (edit(pipeline) == pixels).all()


def test_of_several_devices_the_one_of_the_vae_computes(tiny: Path) -> None:
    """Inputs and latents are made there. The meta device stands in for the other GPU."""
    checkpoint = open_checkpoint(Settings(), tiny)
    machine = Hardware((Device("cpu", 50 * GIB), Device("meta", 40 * GIB)), 100 * GIB)
    found = choose(machine, checkpoint.weights, Wishes(strategy=Strategy.SEVERAL_GPUS))
    assert found.part("text_encoder").device == "meta"
    assert found.part("vae").device == "cpu"
    pipeline = placing.build(checkpoint, found, torch.bfloat16)
    placing.place(pipeline, found, torch.bfloat16)
    assert pipeline.text_encoder.device.type == "meta"
    assert pipeline._execution_device == torch.device("cpu")


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("strategy", [Strategy.RESIDENT, Strategy.BLOCK_STREAM, Strategy.CPU])
def test_fp8_and_tiles_change_little(
    tiny: Path, pixels: np.ndarray[Any, Any], strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "choose", lambda *args, **options: replace(choose(*args, **options), tiled=True))
    pipeline = load_pipeline(str(tiny), strategy=strategy, quantization="fp8", progress=False)
    assert pipeline.vae.use_tiling
    assert pipeline.transformer.transformer_blocks[0].attn.to_q.weight.dtype is torch.float8_e4m3fn
    assert np.abs(edit(pipeline).astype(int) - pixels).max() <= 16


def test_low_cpu_mem_usage_maps_the_weights(tiny: Path, emulated: Hardware, pixels: np.ndarray[Any, Any]) -> None:
    assert emulated.devices
    request = Request(Settings(), Wishes(low_cpu_mem_usage=True), tiny, progress=False)
    loaded = load(request)
    assert loaded.placement.load == "mapped"
    assert (edit(loaded.pipeline) == pixels).all()
    assert loaded.seconds > 0
    assert loaded.peak_ram > 100 * 2**20


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({"dtype": torch.float32}, torch.float32),
        ({"dtype": "float32"}, torch.float32),
        ({"torch_dtype": torch.float32, "device_map": None}, torch.float32),
        ({"torch_dtype": "fp32", "device_map": torch.device("cpu")}, torch.float32),
        ({"dtype": "auto"}, torch.bfloat16),
        ({"dtype": "bf16", "torch_dtype": "bf16", "device_map": "cpu"}, torch.bfloat16),
    ],
    ids=str,
)
def test_as_people_write_it(tiny: Path, options: dict[str, Any], dtype: Any) -> None:
    assert load_pipeline(str(tiny), progress=False, **options).transformer.dtype is dtype


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dtype": "int8"}, "dtype wants bfloat16, float16 or float32"),
        ({"dtype": "fp16", "torch_dtype": torch.bfloat16}, "exclude each other"),
        ({"device_map": {"": 0}}, "device_map wants auto or one device"),
        ({"device_map": 1}, "device_map='cuda:1'"),
        ({"lightning": 2}, "lightning wants 4 or 8"),
        ({"strategy": "fastest"}, "strategy wants resident or"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_a_problem(tiny: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(Problem) as raised:
        load_pipeline(str(tiny), progress=False, **options)
    assert told in raised.value.what


def test_nothing_is_asked_of_the_network(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load_pipeline(str(tiny), progress=False)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),  # what page-locking says
    ],
    ids=["on the GPU", "page-locked"],
)
def test_when_memory_does_not_suffice_the_next_rung_is_taken(
    error: Exception,
    tiny: Path,
    emulated: Hardware,
    pixels: np.ndarray[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert emulated.devices
    place = placing.place
    tried = []

    def fail_once(pipeline: Any, placement: Any, dtype: Any) -> None:
        tried.append(placement.strategy)
        if len(tried) == 1:
            raise error
        place(pipeline, placement, dtype)

    monkeypatch.setattr(placing, "place", fail_once)
    pipeline = load_pipeline(str(tiny))
    assert tried[0] is Strategy.RESIDENT
    assert len(set(tried)) == 2
    assert (edit(pipeline) == pixels).all()
    assert "did not suffice for resident: the next rung is tried" in capsys.readouterr().err


def test_when_no_rung_is_left_it_is_a_problem(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(placing, "place", fail)
    with pytest.raises(Problem) as raised:
        load_pipeline(str(tiny), device_map="cpu", progress=False)
    assert raised.value.id == "does-not-fit"
    assert "Every rung that fits was tried" in raised.value.why


def test_too_little_ram_is_found_before_anything_is_read(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Hardware((), GIB))
    monkeypatch.setattr(loader, "import_torch", lambda: pytest.fail("torch was imported"))
    with pytest.raises(Problem) as raised:
        load_pipeline(str(tiny), progress=False)
    assert raised.value.id == "does-not-fit"
    assert raised.value.exit_code == ExitCode.CANNOT_LOAD
    assert "of RAM" in raised.value.why


def test_a_gpu_that_torch_cannot_use(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Hardware((Device("cuda:0", 15 * GIB),), 100 * GIB))
    monkeypatch.setattr(loader, "look_with_torch", lambda: Hardware((), 100 * GIB))
    with pytest.raises(Problem) as raised:
        load_pipeline(str(tiny), progress=False)
    assert raised.value.id == "torch-without-cuda"
    assert load_pipeline(str(tiny), device_map="cpu", progress=False)


def test_what_the_libraries_refuse_is_a_problem(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise ValueError("expected ['processor', 'scheduler'] but only {'scheduler'} were passed")

    monkeypatch.setattr(placing, "build", refuse)
    with pytest.raises(Problem) as raised:
        load_pipeline(str(tiny), progress=False)
    assert raised.value.id == "load-failed"
    assert "expected ['processor'" in raised.value.what


def packed(source: Path, folder: Path, method: str = "bitsandbytes") -> Path:
    """As bitsandbytes saves a model in 4 bits: two weights in a byte, in a column, with a scale for each 64."""
    shutil.copytree(source, folder)
    for name in ("transformer", "text_encoder"):
        config = folder / name / "config.json"
        values = json.loads(config.read_text()) | {
            "quantization_config": {"quant_method": method, "load_in_4bit": True}
        }
        config.write_text(json.dumps(values))
        for path in (folder / name).glob("*.safetensors"):
            tensors = load_file(path)
            for key, tensor in list(tensors.items()):
                if tensor.ndim == 2 and "embed_tokens" not in key and "lm_head" not in key:
                    tensors[key] = torch.zeros((tensor.numel() // 2, 1), dtype=torch.uint8)
                    tensors[f"{key}.absmax"] = torch.zeros(tensor.numel() // 64)
            save_file(tensors, path, metadata={"format": "pt"})
    return folder


def test_a_model_that_was_saved_in_4_bits_is_loaded_as_it_is(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned and asked for; bitsandbytes itself wants a GPU."""
    checkpoint = open_checkpoint(Settings(), packed(tiny, tmp_path / "packed"))
    stored = sum(tensor.bytes for tensor in checkpoint.tensors["transformer"])
    assert stored < sum(tensor.bytes for tensor in open_checkpoint(Settings(), tiny).tensors["transformer"]) * 0.6
    use(monkeypatch, Hardware((Device("cuda:0", 15 * GIB),), 30 * GIB))
    monkeypatch.setattr(loader, "check_cuda", lambda: None)
    monkeypatch.setattr(loader, "check_packages", lambda *given, **_: asked.append(given[1]))
    asked: list[Any] = []
    lora = make_lora(tmp_path / "lora.safetensors")
    planned = loader.plan(Request(Settings(), Wishes(), checkpoint.folder, loras=(str(lora),)))
    assert asked == ["nf4"]
    assert planned.placement.quantization == "nf4"
    assert planned.checkpoint.weights.as_loaded("bfloat16", "nf4").transformer.bytes == pytest.approx(stored, rel=0.1)

    given: list[dict[str, Any]] = []

    class Model:
        @staticmethod
        def from_pretrained(_folder: Path, **options: Any) -> Any:
            given.append(options)
            return torch.nn.Linear(1, 1)

    monkeypatch.setattr(placing, "diffusers", SimpleNamespace(QwenImageTransformer2DModel=Model))
    monkeypatch.setattr(placing, "transformers", SimpleNamespace(Qwen2_5_VLForConditionalGeneration=Model))
    assert set(placing._build_nf4(checkpoint, "cuda:0", {"dtype": torch.bfloat16})) == {"transformer", "text_encoder"}
    assert [set(options) for options in given] == [{"subfolder", "device_map", "dtype"}] * 2

    with pytest.raises(Problem, match="it loads as it is"):
        loader.plan(Request(Settings(), Wishes(quantization="fp8"), checkpoint.folder))
    with pytest.raises(Problem, match="weights packed by sdnq"):
        open_checkpoint(Settings(), packed(tiny, tmp_path / "other", "sdnq"))


def test_torch_is_told_how_to_pin_before_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    loader._ask_for_exact_pinning()
    assert hardware.EXACT_PINNING not in os.environ["PYTORCH_ALLOC_CONF"]  # too late: it is imported
    monkeypatch.delitem(sys.modules, "torch")
    for _ in range(2):
        loader._ask_for_exact_pinning()
        assert os.environ["PYTORCH_ALLOC_CONF"] == f"expandable_segments:True,{hardware.EXACT_PINNING}"


def test_the_package_exports_it_lazily() -> None:
    assert qwen_fetch.load_pipeline is load_pipeline
    with pytest.raises(AttributeError, match="no attribute 'load_pipelin'"):
        _ = qwen_fetch.load_pipelin


def test_diffusers_pins_every_block_before_it_lets_go_of_the_first(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why blocks are streamed from mapped weights: a copy in RAM would be held beside the whole pinned one.

    When this fails, a copy costs one block more, and no longer all of them.
    """
    group = diffusers.hooks.group_offloading.ModuleGroup
    log: list[str] = []
    make, let_go = group.__init__, group.offload_

    def logged_make(self: Any, *arguments: Any, **options: Any) -> None:
        log.append("pinned")
        make(self, *arguments, **options)

    def logged_let_go(self: Any) -> None:
        log.append("let go")
        let_go(self)

    monkeypatch.setattr(group, "__init__", logged_make)
    monkeypatch.setattr(group, "offload_", logged_let_go)
    transformer = plain(tiny).transformer
    for by_block, before in ((True, len(transformer.transformer_blocks)), (False, 1)):
        log.clear()
        part = Part("any", "cpu", "block-stream" if by_block else "leaf-stream")
        placing._stream(transformer if by_block else plain(tiny).text_encoder, part)
        assert log.index("let go") == before
