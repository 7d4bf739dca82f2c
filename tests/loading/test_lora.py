"""LoRAs and Lightning on a tiny pipeline: the pixels of plain diffusers, on every rung, and nothing left out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import diffusers  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tiny import LORA_STYLES, make_lora, make_tiny, small_references  # noqa: E402

pytest.importorskip("peft")  # which imports torchvision: after the helper that makes this possible

from qwen_fetch import load_pipeline  # noqa: E402
from qwen_fetch.base.problem import ExitCode, Problem  # noqa: E402
from qwen_fetch.base.settings import Settings  # noqa: E402
from qwen_fetch.loading import lightning, loader  # noqa: E402
from qwen_fetch.loading.checkpoint import open_checkpoint  # noqa: E402
from qwen_fetch.loading.hardware import Device, Hardware  # noqa: E402
from qwen_fetch.loading.lora import find_lora, with_loras  # noqa: E402
from qwen_fetch.loading.placement import Strategy  # noqa: E402

GIB = 2**30
PLENTY = Hardware((Device("cpu", 50 * GIB), Device("cpu", 40 * GIB)), 100 * GIB)
FUSED = {Strategy.RESIDENT, Strategy.SEVERAL_GPUS, Strategy.MODEL_OFFLOAD, Strategy.CPU}  # weights are copied there
Pixels: TypeAlias = Any  # an array of numpy, which is not there where the types are checked


@pytest.fixture(scope="module", autouse=True)
def _small_references() -> Iterator[None]:
    with small_references():
        yield


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "edit", layout_of_2025=True)


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lora(tmp_path_factory.mktemp("lora") / "one.safetensors")


@pytest.fixture(scope="module")
def expected(tiny: Path, lora: Path) -> dict[bool, Pixels]:
    """What plain diffusers makes of it: unfused, and fused."""
    return {fused: pixels(plain(tiny, lora, fuse=fused)) for fused in (False, True)}


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU in the part of two GPUs."""
    monkeypatch.setattr(loader, "look", lambda: PLENTY)
    monkeypatch.setattr(loader, "look_with_torch", lambda: PLENTY)


def plain(folder: Path, *loras: Path, fuse: bool = False) -> Any:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)
    names = [f"a{number}" for number in range(len(loras))]
    for name, path in zip(names, loras, strict=True):
        pipeline.load_lora_weights(str(path), adapter_name=name)
    if names:
        pipeline.set_adapters(names)
    if fuse:
        pipeline.fuse_lora(adapter_names=names)
    return pipeline


def pixels(pipeline: Any, steps: int = 2, guidance: float = 4.0) -> Pixels:
    random = np.random.default_rng(0)
    image = pipeline(
        image=Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)),
        prompt="make it pink",
        negative_prompt=" " if guidance > 1 else None,
        true_cfg_scale=guidance,
        num_inference_steps=steps,
        height=64,
        width=64,
        generator=torch.Generator("cpu").manual_seed(0),
    ).images[0]
    found: Pixels = np.asarray(image)
    return found


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("strategy", [*Strategy])
def test_every_rung_gives_the_pixels_of_plain_diffusers(
    tiny: Path, lora: Path, expected: dict[bool, Pixels], strategy: Strategy
) -> None:
    pipeline = load_pipeline(str(tiny), strategy=strategy, lora=lora, progress=False)
    assert (pixels(pipeline) == expected[strategy in FUSED]).all()
    assert (pixels(pipeline) == expected[strategy in FUSED]).all()
    assert (expected[False] != pixels(plain(tiny))).mean() > 0.5  # the LoRA does something


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("strategy", [Strategy.RESIDENT, Strategy.BLOCK_STREAM, Strategy.CPU])
def test_fp8_changes_little(tiny: Path, lora: Path, expected: dict[bool, Pixels], strategy: Strategy) -> None:
    pipeline = load_pipeline(str(tiny), strategy=strategy, lora=lora, quantization="fp8", progress=False)
    query = pipeline.transformer.transformer_blocks[0].attn.to_q
    assert getattr(query, "base_layer", query).weight.dtype is torch.float8_e4m3fn
    assert np.abs(pixels(pipeline).astype(int) - expected[strategy in FUSED]).max() <= 24


@pytest.mark.parametrize("style", LORA_STYLES)
def test_whatever_program_wrote_it_no_layer_is_left_out(
    tiny: Path, tmp_path: Path, expected: dict[bool, Pixels], style: str
) -> None:
    made = make_lora(tmp_path / style / "adapter_model.safetensors", style)
    source = str(made.parent) if style == "peft" else str(made)
    pipeline = load_pipeline(str(tiny), lora=source, low_cpu_mem_usage=True, progress=False)
    assert np.abs(pixels(pipeline).astype(int) - expected[False]).max() <= 1


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")  # of plain diffusers
def test_several_with_their_weights(tiny: Path, lora: Path, tmp_path: Path) -> None:
    other = make_lora(tmp_path / "other.safetensors", seed=2)
    pipeline = load_pipeline(
        str(tiny), lora=[f"{lora}@0.5", f"{other}@-1"], low_cpu_mem_usage=True, device_map="cpu", progress=False
    )
    theirs = plain(tiny, lora, other)
    theirs.set_adapters(["a0", "a1"], [0.5, -1.0])
    assert (pixels(pipeline) == pixels(theirs)).all()


def in_cache(cache: Path, repo_id: str, name: str, **options: Any) -> Path:
    """A LoRA as the Hub client leaves it in the cache."""
    repo = cache / f"models--{repo_id.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True, exist_ok=True)
    (repo / "refs" / "main").write_text("1" * 40)
    return make_lora(repo / "snapshots" / ("1" * 40) / name, **options)


def test_lightning_takes_four_passes_with_its_own_scheduler(tiny: Path, tmp_path: Path) -> None:
    in_cache(tmp_path, "lightx2v/Qwen-Image-Lightning", "Qwen-Image-Lightning-4steps-V2.0-bf16.safetensors", seed=9)
    name = "Qwen-Image-Edit-Lightning-4steps-V{}-bf16.safetensors"
    in_cache(tmp_path, "lightx2v/Qwen-Image-Lightning", name.format("1.0"), seed=8)
    path = in_cache(tmp_path, "lightx2v/Qwen-Image-Lightning", name.format("1.1"), style="lightx2v")
    pipeline = load_pipeline(
        str(tiny), lightning=4, cache_dir=tmp_path, low_cpu_mem_usage=True, device_map="cpu", progress=False
    )
    published = {**lightning.SCHEDULER, "base_shift": np.log(3), "max_shift": np.log(3), "shift_terminal": None}
    assert {name: pipeline.scheduler.config[name] for name in published} == published
    assert set(published) == {name for name in pipeline.scheduler.config if not name.startswith("_")}
    passes, texts = [], []
    pipeline.transformer.register_forward_hook(lambda *_: passes.append(1))
    pipeline.text_encoder.register_forward_hook(lambda *_: texts.append(1))
    found = pixels(pipeline, steps=4, guidance=1.0)
    assert (len(passes), len(texts)) == (4, 1)
    theirs = plain(tiny, path)
    theirs.scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(published)
    assert (found == pixels(theirs, steps=4, guidance=1.0)).all()


@pytest.mark.parametrize(("zero_cond_t", "edition"), [(False, "Qwen-Image-Edit-2509"), (True, "Qwen-Image-Edit-2511")])
def test_what_is_not_here_is_told_with_the_command(tmp_path: Path, zero_cond_t: bool, edition: str) -> None:
    folder = make_tiny(tmp_path / "plus", plus=True)
    config = folder / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"zero_cond_t": false', f'"zero_cond_t": {str(zero_cond_t).lower()}'))
    with pytest.raises(Problem) as raised:
        load_pipeline(str(folder), lightning=8, cache_dir=tmp_path / "cache", progress=False)
    assert raised.value.id == "lora-not-here"
    assert f"--with-lightning 8 --repo-id Qwen/{edition}" in raised.value.do[0]


def problem_of(tiny: Path, text: str, cache: Path) -> Problem:
    settings = Settings(cache_dir=cache)
    with pytest.raises(Problem) as raised:
        find_lora(text, settings, open_checkpoint(settings, tiny))
    return raised.value


def test_a_lora_of_another_model_is_told(tiny: Path, tmp_path: Path) -> None:
    wide = make_lora(tmp_path / "wide.safetensors", width=64, ss_base_model_version="flux1")
    wrong = problem_of(tiny, str(wide), tmp_path)
    assert wrong.id == "lora-does-not-fit"
    assert "32 of 40 tensors belong nowhere" in wrong.what
    assert "for flux1" in wrong.why
    mixed = load_file(make_lora(tmp_path / "mixed.safetensors"))
    save_file(mixed | {"text_encoder.layers.0.lora_A.weight": torch.zeros(2, 32)}, tmp_path / "mixed.safetensors")
    assert "1 of 41 tensors" in problem_of(tiny, str(tmp_path / "mixed.safetensors"), tmp_path).what


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("missing.safetensors", "usage", "no such file"),
        ("owner/name:some.safetensors@0.5", "lora-not-here", "--selective some.safetensors"),
        ("owner/name", "lora-not-here", "--repo-id owner/name"),
        ("two", "usage", "holds 2 LoRAs (a.safetensors, b.safetensors)"),
        ("page.safetensors", "lora-damaged", "web page"),
    ],
)
def test_what_cannot_be_found(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, kind: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        make_lora(tmp_path / "two" / f"{name}.safetensors")
    (tmp_path / "page.safetensors").write_text("<!DOCTYPE html>")
    wrong = problem_of(tiny, text, tmp_path / "cache")
    assert wrong.id == kind
    assert wrong.exit_code in {ExitCode.USAGE, ExitCode.CANNOT_LOAD}
    assert told in wrong.what + " ".join(wrong.do)


def test_a_repo_in_the_cache(tiny: Path, tmp_path: Path) -> None:
    path = in_cache(tmp_path, "owner/name", "folder/pink.safetensors")
    checkpoint = open_checkpoint(Settings(), tiny)
    found = find_lora("owner/name:folder/pink.safetensors@0.8", Settings(cache_dir=tmp_path), checkpoint)
    assert (found.path, found.weight) == (path, 0.8)
    assert len(found.as_json()["sha256"]) == 64


def test_the_plan_counts_them(tiny: Path, lora: Path) -> None:
    checkpoint = open_checkpoint(Settings(), tiny)
    found = find_lora(str(lora), Settings(), checkpoint)
    more = with_loras(checkpoint.weights, (found,))
    assert more.transformer.bytes - checkpoint.weights.transformer.bytes == sum(
        tensor.numel() * 2 for tensor in load_file(lora).values()
    )
    assert more.transformer.rest == checkpoint.weights.transformer.rest  # they lie in the blocks, and stream with them
